#include <cmath>
#include <memory>

#include "core/value/views.h"
#include "cpu/runtime/backend.h"
#include "cpu/train/optim_kernels.h"
#include "tests/guarded.h"

namespace weft::cpu {
namespace {

const std::vector<std::int64_t> kSizes = {0, 1, 7, 16, 17, 100, 16384, 16385, 40001};

/// Parameters of both dtypes and their states, and the same in double for the plain loops. Every third was stepped 1000
/// times, as the others were not yet.
struct Parameters {
  struct Plain {
    std::vector<double> value, grad, first, second;
    std::int64_t step;
  };

  Parameters() {
    for (std::int64_t size : kSizes) {
      add(size, f32);
      add(size, f64);
    }
  }

  template <class T>
  void add(std::int64_t size, std::vector<std::unique_ptr<Guarded<T>>>& buffers) {
    const unsigned seed = static_cast<unsigned>(tensors.size());
    const auto value = normals<T>(size, 2 * seed), grad = normals<T>(size, 2 * seed + 1);
    plain.push_back({{value.begin(), value.end()},
                     {grad.begin(), grad.end()},
                     std::vector<double>(value.size()),
                     std::vector<double>(value.size()),
                     tensors.size() % 3 == 2 ? 1000 : 0});
    OptimizerTensor tensor;
    tensor.step = &steps[static_cast<std::int64_t>(tensors.size())];
    *tensor.step = plain.back().step;
    tensor.size = size;
    tensor.dtype = dtype_of<T>;
    tensor.value = new_buffer(value, buffers);
    tensor.grad = new_buffer(grad, buffers);
    tensor.first = new_buffer(std::vector<T>(value.size()), buffers);
    tensor.second = new_buffer(std::vector<T>(value.size()), buffers);
    tensors.push_back(tensor);
  }

  template <class T>
  static T* new_buffer(const std::vector<T>& values, std::vector<std::unique_ptr<Guarded<T>>>& buffers) {
    buffers.push_back(std::make_unique<Guarded<T>>(static_cast<std::int64_t>(values.size())));
    buffers.back()->assign(values);
    return buffers.back()->data();
  }

  static double element(const void* data, DType dtype, std::size_t i) {
    return dtype == DType::f32 ? static_cast<double>(static_cast<const float*>(data)[i])
                               : static_cast<const double*>(data)[i];
  }

  /// Compares values and states with the plain loops' and gradients with what they were.
  void check() const {
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const OptimizerTensor& tensor = tensors[t];
      const double tolerance = tensor.dtype == DType::f32 ? 1e-5 : 1e-13;
      const auto compare = [&](const void* actual, const std::vector<double>& expected, const char* what) {
        if (actual == nullptr) return;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(element(actual, tensor.dtype, i), expected[i], tolerance * (1 + std::abs(expected[i])))
              << what << " at " << i << " of " << tensor.size << " " << name(tensor.dtype);
        }
      };
      compare(tensor.value, plain[t].value, "value");
      compare(tensor.first, plain[t].first, "first");
      compare(tensor.second, plain[t].second, "second");
      for (std::size_t i = 0; i < plain[t].grad.size(); ++i) {
        ASSERT_EQ(element(tensor.grad, tensor.dtype, i), plain[t].grad[i]) << "a gradient was written";
      }
      EXPECT_EQ(*tensor.step, plain[t].step) << "of tensor " << t;
    }
  }

  std::vector<std::unique_ptr<Guarded<float>>> f32;
  std::vector<std::unique_ptr<Guarded<double>>> f64;
  Guarded<std::int64_t> steps{static_cast<std::int64_t>(2 * kSizes.size())};
  std::vector<OptimizerTensor> tensors;
  std::vector<Plain> plain;
};

TEST(Sgd, EveryOption) {
  for (int options = 0; options < 16; ++options) {
    SCOPED_TRACE("options " + std::to_string(options));
    const SgdArguments arguments{.momentum = (options & 1) != 0 ? 0.9 : 0,
                                 .weight_decay = (options & 2) != 0 ? 0.1 : 0,
                                 .nesterov = (options & 4) != 0,
                                 .buffer_holds_steps = (options & 8) != 0};
    const bool momentum = arguments.momentum != 0;
    if (arguments.nesterov && !momentum) continue;
    Parameters p;
    if (!momentum) {
      for (OptimizerTensor& tensor : p.tensors) tensor.first = nullptr;
    }
    for (double lr : {0.1, 0.3, 0.05}) {
      const std::vector<double> rate = {lr};
      backend().sgd(p.tensors, arguments, const_view(rate));
      for (Parameters::Plain& plain : p.plain) {
        for (std::size_t i = 0; i < plain.value.size(); ++i) {
          double d = plain.grad[i] + arguments.weight_decay * plain.value[i];
          if (arguments.buffer_holds_steps) d *= -lr;
          double& buffer = plain.first[i];
          if (momentum) buffer = arguments.momentum * buffer + d;
          const double update = !momentum ? d : arguments.nesterov ? d + arguments.momentum * buffer : buffer;
          plain.value[i] += arguments.buffer_holds_steps ? update : -lr * update;
        }
      }
    }
    p.check();
  }
}

TEST(Adam, CoupledAndDecoupledDecay) {
  for (double decay : {0.0, 0.1}) {
    for (bool decoupled : {false, true}) {
      const AdamArguments arguments{
          .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6, .weight_decay = decay, .decoupled = decoupled};
      SCOPED_TRACE("decay " + std::to_string(decay) + (decoupled ? " decoupled" : ""));
      Parameters p;
      for (double lr : {0.01, 0.02, 0.03}) {
        const std::vector<double> rate = {lr};
        backend().adam(p.tensors, arguments, const_view(rate));
        for (Parameters::Plain& plain : p.plain) {
          const auto t = static_cast<double>(++plain.step);
          for (std::size_t i = 0; i < plain.value.size(); ++i) {
            double& value = plain.value[i];
            const double g = plain.grad[i] + (decoupled ? 0 : decay * value);
            if (decoupled) value -= lr * decay * value;
            plain.first[i] = 0.8 * plain.first[i] + 0.2 * g;
            plain.second[i] = 0.99 * plain.second[i] + 0.01 * g * g;
            const double m = plain.first[i] / (1 - std::pow(0.8, t)), v = plain.second[i] / (1 - std::pow(0.99, t));
            value -= lr * m / (std::sqrt(v) + 1e-6);
          }
        }
      }
      p.check();
    }
  }
}

TEST(Adam, ATensorsBitsDoNotDependOnTheCountsOfOthers) {
  Parameters together, apart;
  const std::vector<double> rate = {0.1};
  for (int t = 0; t < 3; ++t) {
    backend().adam(together.tensors, {.weight_decay = 0.1}, const_view(rate));
    for (const OptimizerTensor& tensor : apart.tensors) {
      backend().adam(std::span(&tensor, 1), {.weight_decay = 0.1}, const_view(rate));
    }
  }
  for (std::size_t i = 0; i < together.f32.size(); ++i) {
    EXPECT_EQ(together.f32[i]->values(), apart.f32[i]->values());
    EXPECT_EQ(together.f64[i]->values(), apart.f64[i]->values());
  }
}

TEST(Adam, NoTensorsAreNoStep) {
  const std::vector<double> rate = {0.1};
  backend().adam({}, {}, const_view(rate));
}

TEST(Adam, ZeroGradientKeepsTheValue) {
  Guarded<float> value(20, 1.5F), first(20, 0), second(20, 0);
  const std::vector<float> grad(20, 0);
  Guarded<std::int64_t> step(1, 0);
  const std::vector<double> rate = {0.1};
  const std::vector<OptimizerTensor> tensors = {
      {value.data(), grad.data(), first.data(), second.data(), 20, DType::f32, step.data()}};
  backend().adam(tensors, {}, const_view(rate));
  EXPECT_EQ(value.values(), std::vector<float>(20, 1.5F));
}

TEST(OptimThreads, SameBits) {
  expect_equal_on_any_threads([] {
    Parameters p;
    const std::vector<double> rate = {0.1};
    backend().adam(p.tensors, {.weight_decay = 0.1}, const_view(rate));
    backend().sgd(p.tensors, {.momentum = 0.9, .nesterov = true}, const_view(rate));
    std::vector<float> all;
    for (const auto& buffer : p.f32) {
      const std::vector<float> values = buffer->values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  });
}

/// An element's bits do not depend on whether a vector or the loop over the rest updates it.
template <class T>
void check_kernels(const OptimKernelsOf<T>& kernels, const std::string& what) {
  const std::int64_t n = 67;
  const auto grad = normals<T>(n, 1), start = normals<T>(n, 2);
  const SgdStep<T> sgd_step{T(0.1), T(0.9), T(0.01), true, false};
  const AdamStep<T> adam_step{T(0.9), T(0.1), T(0.99), T(0.01), T(0.3), T(2), T(1e-8), T(0.1), T(0.75)};
  Guarded<T> value(n), buffer(n, T(0.5)), other(n), first(n, T(0.5)), second(n, T(0.25));
  value.assign(start);
  other.assign(start);
  kernels.sgd(n, sgd_step, grad.data(), value.data(), buffer.data());
  kernels.adam(n, adam_step, grad.data(), other.data(), first.data(), second.data());
  const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-14;
  for (std::int64_t i = 0; i < n; ++i) {
    SCOPED_TRACE(what + " at " + std::to_string(i));
    const double w = start[i], d = grad[i] + 0.01 * w, b = 0.45 + d, g = grad[i] + 0.1 * w;
    const double m1 = 0.45 + 0.1 * g, m2 = 0.2475 + 0.01 * g * g;
    ASSERT_NEAR(buffer[i], b, tolerance);
    ASSERT_NEAR(value[i], w - 0.1 * (d + 0.9 * b), tolerance);
    ASSERT_NEAR(first[i], m1, tolerance);
    ASSERT_NEAR(second[i], m2, tolerance);
    ASSERT_NEAR(other[i], 0.75 * w - 0.3 * m1 / (2 * std::sqrt(m2) + 1e-8), tolerance);

    T one_value = start[i], one_first = T(0.5), one_second = T(0.25);
    kernels.adam(1, adam_step, &grad[i], &one_value, &one_first, &one_second);
    EXPECT_EQ(one_value, other[i]);
  }
}

TEST(OptimKernels, EveryInstructionSet) {
  for (Isa isa : isas()) {
    check_kernels(optim_kernels(isa).f32, name(isa));
    check_kernels(optim_kernels(isa).f64, name(isa));
  }
}

}  // namespace
}  // namespace weft::cpu
