#pragma once

#include "weft/nn/module.h"
#include "weft/ops.h"

namespace weft::nn {

class ReLU final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
  bool is_relu() const override { return true; }
};

class GELU final : public Module {
 public:
  explicit GELU(bool tanh_approximation = false) : tanh_approximation_(tanh_approximation) {}
  Tensor forward(const Tensor& x) override;

 private:
  bool tanh_approximation_;
};

class LeakyReLU final : public Module {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) {}
  Tensor forward(const Tensor& x) override;

 private:
  double slope_;
};

class ELU final : public Module {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) override;

 private:
  double alpha_;
};

class CELU final : public Module {
 public:
  explicit CELU(double alpha = 1);
  Tensor forward(const Tensor& x) override;

 private:
  double alpha_;
};

class SiLU final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Softplus final : public Module {
 public:
  explicit Softplus(double beta = 1, double threshold = 20);
  Tensor forward(const Tensor& x) override;

 private:
  double beta_, threshold_;
};

class Hardtanh final : public Module {
 public:
  explicit Hardtanh(double low = -1, double high = 1);
  Tensor forward(const Tensor& x) override;

 private:
  double low_, high_;
};

class ReLU6 final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Hardsigmoid final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Hardswish final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Tanh final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

class Sigmoid final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

}  // namespace weft::nn
