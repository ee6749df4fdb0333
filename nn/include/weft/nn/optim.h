#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "weft/nn/module.h"
#include "weft/tensor.h"
#include "weft/train_ops.h"

namespace weft::nn {

/// Changes parameters by their gradients. Learning rate and step counts live on the parameters' devices, so a captured
/// step follows set_lr(). State is made at a parameter's first step and follows it to another device or dtype. A step
/// that a StepGraph recorded changes the parameters that had gradients then (weft/graph.h).
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  const std::vector<Tensor>& parameters() const { return parameters_; }
  /// Forgets all gradients.
  void zero_grad();
  /// One step of every parameter that has a gradient; nothing when none has. Parameters must be dense and f32 or f64:
  /// throws ShapeError or DTypeError before anything changes. Without memory for new state nothing changes either.
  void step();

  double lr() const { return lr_; }
  /// Throws ValueError on a negative or infinite rate.
  void set_lr(double lr);

  /// All that resuming needs: "lr" (), "0.NAME" shaped like parameter number 0 and so on, and for Adam "0.step" (), the
  /// i64 count of that parameter's steps. A parameter that was never stepped has none of them.
  /// The state arrays are the optimizer's own, not copies.
  StateDict state_dict() const;
  /// Files of earlier versions have one "step" for all: it is that of every parameter whose state they hold. Throws one
  /// FormatError that lists every missing, unexpected and misshapen name, having changed nothing.
  void load_state_dict(const StateDict& state);

 protected:
  /// `state_names` are those of the arrays that each parameter needs, at most two.
  Optimizer(std::string name, std::vector<Tensor> parameters, double lr, std::vector<std::string> state_names,
            bool counts_steps);
  /// Steps parameters of one device, each with the state that it needs, at the rate, an f64 () there.
  virtual void update(std::span<const ParameterStep> parameters, const Array& rate) = 0;

 private:
  struct State {
    std::array<Array, 2> arrays;  ///< as state_names_ has them
    Array step;                   ///< i64 (), where steps are counted
  };
  struct Rate {
    Device device;
    Array lr;
  };
  const Array* rate_on(const Device& device) const;
  /// Returns whether the parameter has its state, of its dtype and layout and on its device.
  bool has_state(std::size_t parameter) const;
  /// That state; made, or copied, where it is not.
  State state_of(std::size_t parameter) const;
  /// Makes `states` those of the parameters.
  void replace_states(std::vector<State> states);

  std::string name_;
  std::vector<Tensor> parameters_;
  std::vector<std::string> state_names_;
  std::vector<State> states_;
  std::vector<Rate> rates_;
  double lr_;
  bool counts_steps_;
};

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool buffer_holds_steps = false;  ///< David Page's form, where the buffer holds steps instead of gradients
};

/// d = gradient + weight_decay·w, v = momentum·v + d, w -= lr·v, or lr·(d + momentum·v) with Nesterov's momentum, as in
/// PyTorch; with `buffer_holds_steps` d = -lr·(gradient + weight_decay·w), v = momentum·v + d, w += v or d +
/// momentum·v.
class SGD final : public Optimizer {
 public:
  explicit SGD(std::vector<Tensor> parameters, const SGDOptions& options = {});

 private:
  void update(std::span<const ParameterStep> parameters, const Array& rate) override;
  SGDOptions options_;
};

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
};

/// Kingma and Ba 2015; weight_decay·w is added to the gradient. Each parameter's steps are counted on their own, so one
/// that gets its first gradient late starts as all others did.
class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<Tensor> parameters, const AdamOptions& options = {});

 protected:
  Adam(const std::string& name, std::vector<Tensor> parameters, const AdamOptions& options, bool decoupled);

 private:
  void update(std::span<const ParameterStep> parameters, const Array& rate) override;
  AdamOptions options_;
  bool decoupled_ = false;
};

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
};

/// Loshchilov and Hutter 2019: Adam with w -= lr·weight_decay·w instead.
class AdamW final : public Adam {
 public:
  explicit AdamW(std::vector<Tensor> parameters, const AdamWOptions& options = {});
};

}  // namespace weft::nn
