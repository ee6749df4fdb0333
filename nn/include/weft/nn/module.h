#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "weft/tensor.h"

namespace weft::nn {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
/// Arrays by name, as in PyTorch's state_dict().
using StateDict = std::map<std::string, Array>;

/// A function of one tensor with named parameters, buffers and child modules. Like a Tensor it is a shared handle:
/// copies have the same parameters, buffers, children and training mode. A derived class registers what it holds and
/// keeps the handles it gets back:
///
///     class Net final : public weft::nn::Module {
///      public:
///       weft::Tensor forward(const weft::Tensor& x) override { return out_(weft::relu(in_(x))); }
///
///      private:
///       weft::nn::Linear in_ = register_module("in", weft::nn::Linear(784, 128));
///       weft::nn::Linear out_ = register_module("out", weft::nn::Linear(128, 10));
///     };
///
/// Its other members should be constants: copies do not share them.
class Module {
 public:
  virtual ~Module() = default;

  virtual Tensor forward(const Tensor& x) = 0;
  /// A layer's result in a Sequential, with what follows it as far as the layer computes that too.
  struct Fused {
    Tensor y;
    std::size_t layers = 0;     ///< how many of the following layers y includes
    bool has_residual = false;  ///< whether y includes the residual
  };
  using Children = std::vector<std::pair<std::string, std::shared_ptr<Module>>>;
  /// Returns forward(x), and with it the first of the layers that follow, and after the last of them the sum with the
  /// residual, where this layer computes them in one function. An undefined residual is none. The default fuses
  /// nothing.
  virtual Fused forward_fused(const Tensor& x, std::span<const Children::value_type> following, const Tensor& residual);
  /// Returns whether forward(x) is relu(x), which a layer before it may take over.
  virtual bool is_relu() const { return false; }
  /// forward(), except that running statistics (those on the CPU) and this thread's generator are as before where it
  /// throws.
  Tensor operator()(const Tensor& x);

  /// Own ones first, then the children's as "child.name", in order of registration; a shared one is listed once.
  NamedTensors named_parameters() const;
  NamedTensors named_buffers() const;
  std::vector<Tensor> parameters() const;
  const Children& named_children() const;
  /// Number of elements in all parameters.
  std::int64_t parameter_count() const;

  /// All parameters and buffers by name. The arrays are the module's own, not copies.
  StateDict state_dict() const;
  /// Copies the arrays into the module's, converting dtype and device. Throws one FormatError that lists every missing,
  /// unexpected and misshapen name, having changed nothing. Not strict: missing and unexpected names are ignored.
  void load_state_dict(const StateDict& state, bool strict = true);

  /// Sets the mode of this module and all below it: training uses batch statistics and drops out, evaluation does not.
  void train(bool training = true);
  void eval() { train(false); }
  bool is_training() const;

  /// Moves parameters, their gradients and buffers, in place: handles to them, an optimizer's too, stay valid.
  void to(const Device& device);
  /// Converts those of a floating dtype. Throws DTypeError when `dtype` is not one.
  void to(DType dtype);
  /// Forgets all gradients.
  void zero_grad();

 protected:
  Module();
  Module(const Module&) = default;
  Module& operator=(const Module&) = default;

  /// Names must be new, not empty and free of dots; ValueError otherwise. An undefined tensor is not registered.
  /// Parameters get requires_grad; buffers are state that is saved but not trained.
  Tensor register_parameter(const std::string& name, Tensor parameter);
  Tensor register_buffer(const std::string& name, Tensor buffer);
  /// Throws ValueError also when the child is null or holds this module.
  void register_module(const std::string& name, std::shared_ptr<Module> child);
  template <std::derived_from<Module> M>
  M register_module(const std::string& name, M child) {
    register_module(name, std::make_shared<M>(child));
    return child;
  }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace weft::nn
