#pragma once

#include "weft/nn/layer.h"
#include "weft/ops.h"

namespace weft::nn {

class ReLU final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
  bool is_relu() const override { return true; }
};

class GELU final : public Layer {
 public:
  explicit GELU(bool tanh_approximation = false) : tanh_approximation_(tanh_approximation) {}
  Tensor forward(const Tensor& x) const override;

 private:
  bool tanh_approximation_;
};

class LeakyReLU final : public Layer {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) {}
  Tensor forward(const Tensor& x) const override;

 private:
  double slope_;
};

class ELU final : public Layer {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) const override;

 private:
  double alpha_;
};

class CELU final : public Layer {
 public:
  explicit CELU(double alpha = 1);
  Tensor forward(const Tensor& x) const override;

 private:
  double alpha_;
};

class SiLU final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

class Softplus final : public Layer {
 public:
  explicit Softplus(double beta = 1, double threshold = 20);
  Tensor forward(const Tensor& x) const override;

 private:
  double beta_, threshold_;
};

class Hardtanh final : public Layer {
 public:
  explicit Hardtanh(double low = -1, double high = 1);
  Tensor forward(const Tensor& x) const override;

 private:
  double low_, high_;
};

class ReLU6 final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

class Hardsigmoid final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

class Hardswish final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

class Softmax final : public Layer {
 public:
  explicit Softmax(int axis = -1) : axis_(axis) {}
  Tensor forward(const Tensor& x) const override;

 private:
  int axis_;
};

class LogSoftmax final : public Layer {
 public:
  explicit LogSoftmax(int axis = -1) : axis_(axis) {}
  Tensor forward(const Tensor& x) const override;

 private:
  int axis_;
};

class Tanh final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

class Sigmoid final : public Layer {
 public:
  Tensor forward(const Tensor& x) const override;
};

}  // namespace weft::nn
