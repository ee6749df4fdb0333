#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/device/integer.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "cpu/train/optim_kernels.h"

namespace weft::cpu {

WEFT_SIMD_DEFINE(OptimKernels, optim_kernels)

namespace {

constexpr std::int64_t kBlock = 16384;  // elements of a task: enough work to pay for waking a thread

/// A block of one tensor, of the tensor's dtype.
template <class T>
struct Block {
  std::int64_t size;
  const T* grad;
  T *value, *first, *second;
  const OptimKernelsOf<T>& kernels;
};

template <class T>
Block<T> block_of(const OptimizerTensor& tensor, std::int64_t begin, const OptimKernelsOf<T>& kernels) {
  const auto at = [&](void* data) { return data == nullptr ? nullptr : static_cast<T*>(data) + begin; };
  return {std::min(kBlock, tensor.size - begin),
          static_cast<const T*>(tensor.grad) + begin,
          at(tensor.value),
          at(tensor.first),
          at(tensor.second),
          kernels};
}

/// update(Block<T>, index of the tensor) for all blocks of all tensors, in one parallel region.
template <class Update>
void for_blocks(std::span<const OptimizerTensor> tensors, const Update& update) {
  std::vector<std::int64_t> ends;  // of each tensor's blocks, counted through all tensors
  ends.reserve(tensors.size());
  std::int64_t blocks = 0;
  for (const OptimizerTensor& tensor : tensors) ends.push_back(blocks += ceil_div(tensor.size, kBlock));
  parallel_for(blocks, [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), i) - ends.begin());
    const std::int64_t begin = (i - (index == 0 ? 0 : ends[index - 1])) * kBlock;
    if (tensors[index].dtype == DType::f32) {
      update(block_of(tensors[index], begin, optim_kernels().f32), index);
    } else {
      update(block_of(tensors[index], begin, optim_kernels().f64), index);
    }
  });
}

template <class T>
SgdStep<T> sgd_step(const SgdArguments& arguments, double lr) {
  return {static_cast<T>(lr), static_cast<T>(arguments.momentum), static_cast<T>(arguments.weight_decay),
          arguments.nesterov, arguments.buffer_holds_steps};
}

/// 1 - β^t of both moments.
struct Corrections {
  double first, second;
};

/// The corrections of each tensor's next step. Tensors of one count share the powers.
std::vector<Corrections> corrections_of(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments) {
  std::map<std::int64_t, Corrections> by_count;
  std::vector<Corrections> all;
  all.reserve(tensors.size());
  for (const OptimizerTensor& tensor : tensors) {
    const auto [found, is_new] = by_count.try_emplace(*tensor.step);
    if (is_new) {
      const double t = static_cast<double>(*tensor.step + 1);
      found->second = {1 - std::pow(arguments.beta1, t), 1 - std::pow(arguments.beta2, t)};
    }
    all.push_back(found->second);
  }
  return all;
}

template <class T>
AdamStep<T> adam_step(const AdamArguments& arguments, double lr, const Corrections& corrections) {
  AdamStep<T> step;
  step.beta1 = static_cast<T>(arguments.beta1);
  step.rest1 = static_cast<T>(1 - arguments.beta1);
  step.beta2 = static_cast<T>(arguments.beta2);
  step.rest2 = static_cast<T>(1 - arguments.beta2);
  step.rate = static_cast<T>(lr / corrections.first);
  step.second_factor = static_cast<T>(1 / std::sqrt(corrections.second));
  step.eps = static_cast<T>(arguments.eps);
  step.weight_decay = static_cast<T>(arguments.decoupled ? 0 : arguments.weight_decay);
  step.shrink = static_cast<T>(arguments.decoupled ? 1 - lr * arguments.weight_decay : 1);
  return step;
}

}  // namespace

void CpuBackend::sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
                     const ConstView& learning_rate) {
  const DenormalMode mode;
  const double lr = *learning_rate.as<double>();
  for_blocks(tensors, [&]<class T>(const Block<T>& block, std::size_t) {
    block.kernels.sgd(block.size, sgd_step<T>(arguments, lr), block.grad, block.value, block.first);
  });
}

void CpuBackend::adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
                      const ConstView& learning_rate) {
  const DenormalMode mode;
  const double lr = *learning_rate.as<double>();
  const std::vector<Corrections> corrections = corrections_of(tensors, arguments);
  for_blocks(tensors, [&]<class T>(const Block<T>& block, std::size_t tensor) {
    block.kernels.adam(block.size, adam_step<T>(arguments, lr, corrections[tensor]), block.grad, block.value,
                       block.first, block.second);
  });
  for (const OptimizerTensor& tensor : tensors) ++*tensor.step;
}

}  // namespace weft::cpu
