#include "cpu/optim.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/optim_kernels.h"
#include "cpu/threads.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(OptimKernels, optim_kernels)

namespace {

constexpr std::int64_t kBlock = 16384;

/// body(tensor, begin, end) over blocks of all tensors, in one parallel region.
template <class Body>
void for_blocks(std::span<const OptimizerTensor> tensors, const Body& body) {
  std::vector<std::int64_t> ends;  // of each tensor's blocks, counted through all tensors
  ends.reserve(tensors.size());
  std::int64_t blocks = 0;
  for (const OptimizerTensor& tensor : tensors) ends.push_back(blocks += (tensor.size + kBlock - 1) / kBlock);
  parallel_for(blocks, [&](std::int64_t i) {
    const auto end = std::upper_bound(ends.begin(), ends.end(), i);
    const auto index = static_cast<std::size_t>(end - ends.begin());
    const OptimizerTensor& tensor = tensors[index];
    const std::int64_t begin = (i - (index == 0 ? 0 : ends[index - 1])) * kBlock;
    body(tensor, begin, std::min(begin + kBlock, tensor.size));
  });
}

template <class T>
T* at(void* data, std::int64_t offset) {
  return data == nullptr ? nullptr : static_cast<T*>(data) + offset;
}
template <class T>
const T* at(const void* data, std::int64_t offset) {
  return static_cast<const T*>(data) + offset;
}

template <class T>
SgdStep<T> sgd_step(const SgdArguments& arguments, double lr) {
  return {static_cast<T>(lr), static_cast<T>(arguments.momentum), static_cast<T>(arguments.weight_decay),
          arguments.nesterov, arguments.lr_inside};
}

template <class T>
AdamStep<T> adam_step(const AdamArguments& arguments, double lr, double t) {
  const double correction1 = 1 - std::pow(arguments.beta1, t), correction2 = 1 - std::pow(arguments.beta2, t);
  AdamStep<T> step;
  step.beta1 = static_cast<T>(arguments.beta1);
  step.rest1 = static_cast<T>(1 - arguments.beta1);
  step.beta2 = static_cast<T>(arguments.beta2);
  step.rest2 = static_cast<T>(1 - arguments.beta2);
  step.rate = static_cast<T>(lr / correction1);
  step.second_factor = static_cast<T>(1 / std::sqrt(correction2));
  step.eps = static_cast<T>(arguments.eps);
  step.weight_decay = static_cast<T>(arguments.decoupled ? 0 : arguments.weight_decay);
  step.shrink = static_cast<T>(arguments.decoupled ? 1 - lr * arguments.weight_decay : 1);
  return step;
}

}  // namespace

void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments, const ConstView& learning_rate) {
  const double lr = *learning_rate.as<double>();
  const auto update = [](const OptimizerTensor& tensor, std::int64_t begin, std::int64_t n, const auto& kernels,
                         const auto& step) {
    using T = std::remove_cvref_t<decltype(step.lr)>;
    kernels.sgd(n, step, at<T>(tensor.grad, begin), at<T>(tensor.value, begin), at<T>(tensor.first, begin));
  };
  const auto f32 = sgd_step<float>(arguments, lr);
  const auto f64 = sgd_step<double>(arguments, lr);
  for_blocks(tensors, [&](const OptimizerTensor& tensor, std::int64_t begin, std::int64_t end) {
    if (tensor.dtype == DType::f32) {
      update(tensor, begin, end - begin, optim_kernels().f32, f32);
    } else {
      update(tensor, begin, end - begin, optim_kernels().f64, f64);
    }
  });
}

void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments, const ConstView& learning_rate,
          const View& step) {
  const double lr = *learning_rate.as<double>();
  const double t = static_cast<double>(++*step.as<std::int64_t>());
  const auto update = [](const OptimizerTensor& tensor, std::int64_t begin, std::int64_t n, const auto& kernels,
                         const auto& scalars) {
    using T = std::remove_cvref_t<decltype(scalars.rate)>;
    kernels.adam(n, scalars, at<T>(tensor.grad, begin), at<T>(tensor.value, begin), at<T>(tensor.first, begin),
                 at<T>(tensor.second, begin));
  };
  const auto f32 = adam_step<float>(arguments, lr, t);
  const auto f64 = adam_step<double>(arguments, lr, t);
  for_blocks(tensors, [&](const OptimizerTensor& tensor, std::int64_t begin, std::int64_t end) {
    if (tensor.dtype == DType::f32) {
      update(tensor, begin, end - begin, optim_kernels().f32, f32);
    } else {
      update(tensor, begin, end - begin, optim_kernels().f64, f64);
    }
  });
}

}  // namespace weft::cpu
