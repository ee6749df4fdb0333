#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weft/tensor.h"

namespace weft::nn {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
/// Arrays by name, as in PyTorch's state_dict().
using StateDict = std::map<std::string, Array>;

/// Named parameters, buffers and child modules, with a mode. What it computes is its own affair: a function of one
/// tensor derives from Layer, anything else from Module, with an operator() of its own. Like a Tensor it is a shared
/// handle: copies have the same parameters, buffers, children and training mode. A derived class registers what it
/// holds and keeps the handles it gets back:
///
///     class Distance final : public weft::nn::Module {
///      public:
///       weft::Tensor operator()(const weft::Tensor& a, const weft::Tensor& b) const {
///         return weft::abs(embed_(a) - embed_(b));
///       }
///
///      private:
///       weft::nn::Linear embed_ = register_module("embed", weft::nn::Linear(784, 128));
///     };
///
/// Its other members should be constants: copies do not share them.
class Module {
 public:
  virtual ~Module() = default;

  using Children = std::vector<std::pair<std::string, std::shared_ptr<Module>>>;

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

  /// Sets requires_grad of this module's parameters and of all below it.
  void requires_grad_(bool requires_grad = true);
  /// Leaves this module and all below it out of training: their parameters require no gradient, and they stay in
  /// evaluation mode when train() is called here or above, so that a batch norm keeps its running statistics.
  void freeze();
  /// Undoes freeze() for this module and all below it, one inside of a frozen module too: their parameters require
  /// gradients, and the next train() reaches them.
  void unfreeze();
  bool is_frozen() const;

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
  /// Returns the child. Throws ValueError also when the child is null or holds this module.
  template <std::derived_from<Module> M>
  std::shared_ptr<M> register_module(const std::string& name, std::shared_ptr<M> child) {
    add_child(name, child);
    return child;
  }
  template <std::derived_from<Module> M>
  M register_module(const std::string& name, M child) {
    add_child(name, std::make_shared<M>(child));
    return child;
  }

 private:
  struct State;
  void mark_frozen(bool frozen);
  void add_child(const std::string& name, std::shared_ptr<Module> child);

  std::shared_ptr<State> state_;
};

}  // namespace weft::nn
