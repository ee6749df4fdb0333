#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/runtime/backend.h"

// A step of SGD or Adam over all parameters of a model. update_kernel replaces
//
//   for each tensor:
//     for each element i:  update(rates of the tensor, gradient(i), value(i), first(i), second(i))
//
//   tensors   │ 0             │ 1     │ 2                 │ ...   64 of one launch, with their pointers as parameters
//   blocks    │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ 8 │ 9 │ 10│       4,096 elements each, all of one tensor
//
// A block finds its tensor by bisection; each thread then updates vectors of 16 bytes in registers. Every number is
// read and written once, and threads share nothing. The learning rate and Adam's counts of steps are in device memory,
// so that a captured step can be replayed. adam_rates_kernel advances the counts before the updates, in one block,
// which raises beta1 and beta2 once for all tensors of equal count.
namespace weft::cuda {
namespace {

constexpr int kThreads = 256;  // four vectors of f32 each in a whole block
constexpr int kTensors = 64;   // of one launch: their pointers and sizes fit a kernel's 4,096 bytes of parameters
constexpr int kBlockElements = 4096;  // a multiple of 16 bytes, so that blocks are as aligned as their tensors
constexpr int kCounts = 256;          // of one launch of adam_rates_kernel: its block has two threads for each

/// Tensors of one launch; those of tensor i are blocks [first_block[i], first_block[i + 1]).
template <class T>
struct Batch {
  int count = 0, blocks = 0;
  int first_block[kTensors];
  std::int64_t size[kTensors];
  T *value[kTensors], *first[kTensors], *second[kTensors];
  const T* grad[kTensors];
};
static_assert(sizeof(Batch<double>) <= 4000);

/// a·b + c in one rounding, as in the CPU's vector kernels.
template <class T>
WEFT_DEVICE T mul_add(T a, T b, T c) {
  return std::fma(a, b, c);
}

/// A product that is rounded before it is added to something.
WEFT_DEVICE float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
WEFT_DEVICE double rounded_product(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

/// Element by element: update(rates, grad, value, first, second) updates the last three. rates(i) are those of tensor i
/// of a launch.
template <class T>
struct SgdStep {
  const double* learning_rate;
  T momentum, weight_decay;
  bool nesterov, buffer_holds_steps;

  struct Rates {
    T inner, outer;
  };
  WEFT_DEVICE Rates rates(int) const {
    const T lr = static_cast<T>(*learning_rate);
    return {-lr, buffer_holds_steps ? T(1) : -lr};
  }
  template <bool kFirst, bool kSecond>
  WEFT_DEVICE void update(const Rates& rates, T grad, T& value, T& first, T&) const {
    T d = grad;
    if (weight_decay != 0) d = mul_add(weight_decay, value, d);
    if (buffer_holds_steps) d = rounded_product(rates.inner, d);
    if constexpr (kFirst) {
      first = mul_add(momentum, first, d);
      d = nesterov ? mul_add(momentum, first, d) : first;
    }
    value = mul_add(rates.outer, d, value);
  }
};

/// What a tensor's count of steps makes of Adam's options. Kingma and Ba 2015's step is lr·sqrt(correction2) /
/// correction1 with eps scaled alike, in f64 whatever the tensor's dtype.
struct AdamRates {
  double rate, second_factor, shrink;
};

/// The counts of tensors [0, count).
struct Counts {
  int count = 0;
  std::int64_t* step[kCounts];
};

/// One block advances the counts and writes the rates of the steps that they begin. Its first half has the powers of
/// beta1, the second those of beta2, of each count that occurs by the first tensor that has it.
WEFT_KERNEL_OF(2 * kCounts)
adam_rates_kernel(const Counts counts, const AdamArguments arguments, const double* learning_rate, AdamRates* rates) {
  WEFT_SHARED(std::int64_t, steps, kCounts);
  WEFT_SHARED(double, powers, 2 * kCounts);
  const int half = static_cast<int>(blockDim.x) / 2, thread = static_cast<int>(threadIdx.x);
  const bool is_second = thread >= half;
  const int tensor = is_second ? thread - half : thread;
  if (thread < counts.count) steps[thread] = *counts.step[thread] + 1;
  WEFT_BARRIER();
  int same = 0;  // the first tensor of this one's count
  if (tensor < counts.count) {
    while (steps[same] != steps[tensor]) ++same;
    if (same == tensor) {
      powers[thread] = std::pow(is_second ? arguments.beta2 : arguments.beta1, static_cast<double>(steps[tensor]));
    }
  }
  WEFT_BARRIER();
  if (thread < counts.count) {
    const double lr = *learning_rate;
    rates[thread] = {lr / (1 - powers[same]), 1 / std::sqrt(1 - powers[half + same]),
                     arguments.decoupled ? 1 - rounded_product(lr, arguments.weight_decay) : 1};
    *counts.step[thread] = steps[thread];
  }
}

template <class T>
struct AdamStep {
  const AdamRates* of_tensors;
  T beta1, rest1, beta2, rest2, eps, weight_decay;

  struct Rates {
    T rate, second_factor, shrink;
  };
  WEFT_DEVICE Rates rates(int tensor) const {
    const AdamRates& own = of_tensors[tensor];
    return {static_cast<T>(own.rate), static_cast<T>(own.second_factor), static_cast<T>(own.shrink)};
  }
  template <bool kFirst, bool kSecond>
  WEFT_DEVICE void update(const Rates& rates, T grad, T& value, T& first, T& second) const {
    T g = grad;
    if (weight_decay != 0) g = mul_add(weight_decay, value, g);
    first = mul_add(rest1, g, rounded_product(beta1, first));
    second = mul_add(rounded_product(rest2, g), g, rounded_product(beta2, second));
    const T denominator = mul_add(static_cast<T>(std::sqrt(second)), rates.second_factor, eps);
    value = rounded_product(value, rates.shrink) - rounded_product(rates.rate, first) / denominator;
  }
};

/// The same for V neighbours from element i on.
template <int V, bool kFirst, bool kSecond, class T, class Step>
WEFT_DEVICE void update_vector(const Step& step, const typename Step::Rates& rates, const T* grad, T* value, T* first,
                               T* second, std::int64_t i) {
  using P = Vector<T, V>;
  const P g = *reinterpret_cast<const P*>(grad + i);
  P v = *reinterpret_cast<const P*>(value + i), a{}, b{};
  if constexpr (kFirst) a = *reinterpret_cast<const P*>(first + i);
  if constexpr (kSecond) b = *reinterpret_cast<const P*>(second + i);
  WEFT_UNROLL
  for (int j = 0; j < V; ++j) {
    step.template update<kFirst, kSecond>(rates, g.value[j], v.value[j], a.value[j], b.value[j]);
  }
  *reinterpret_cast<P*>(value + i) = v;
  if constexpr (kFirst) *reinterpret_cast<P*>(first + i) = a;
  if constexpr (kSecond) *reinterpret_cast<P*>(second + i) = b;
}

/// Block b has elements [4096·k, 4096·(k + 1)) of the tensor whose blocks it is the k-th of. kFirst, kSecond: whether
/// the tensors have these states.
template <bool kFirst, bool kSecond, class T, class Step>
WEFT_KERNEL_OF(kThreads)
update_kernel(const Batch<T> batch, const Step step) {
  constexpr int kWidth = 16 / sizeof(T);
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  int tensor = 0;  // the last one whose first block is not after this one
  for (int end = batch.count; end - tensor > 1;) {
    const int middle = (tensor + end) / 2;
    if (batch.first_block[middle] <= block) {
      tensor = middle;
    } else {
      end = middle;
    }
  }
  const std::int64_t begin = static_cast<std::int64_t>(block - batch.first_block[tensor]) * kBlockElements;
  const std::int64_t left = batch.size[tensor] - begin;
  const int count = left < kBlockElements ? static_cast<int>(left) : kBlockElements;
  const T* grad = batch.grad[tensor] + begin;
  T* value = batch.value[tensor] + begin;
  T* first = kFirst ? batch.first[tensor] + begin : nullptr;
  T* second = kSecond ? batch.second[tensor] + begin : nullptr;
  const auto addresses = reinterpret_cast<std::uintptr_t>(grad) | reinterpret_cast<std::uintptr_t>(value) |
                         reinterpret_cast<std::uintptr_t>(first) | reinterpret_cast<std::uintptr_t>(second);
  const int vectors = addresses % 16 == 0 ? count / kWidth : 0;
  const typename Step::Rates rates = step.rates(tensor);
  for (int i = thread; i < vectors; i += kThreads) {
    update_vector<kWidth, kFirst, kSecond>(step, rates, grad, value, first, second, std::int64_t{i} * kWidth);
  }
  for (int i = vectors * kWidth + thread; i < count; i += kThreads) {
    update_vector<1, kFirst, kSecond>(step, rates, grad, value, first, second, i);
  }
}

bool is_updated(const OptimizerTensor& tensor, DType dtype, bool first) {
  return tensor.dtype == dtype && tensor.size > 0 && (tensor.first != nullptr) == first;
}

/// One launch, with the step that next(number of tensors) returns, for every 64 of those tensors of dtype T that have,
/// or have not, the states; none for empty ones.
template <bool kFirst, bool kSecond, class T, class Next>
void update_all(Context& context, const char* name, DType dtype, std::span<const OptimizerTensor> tensors,
                const Next& next) {
  using Step = decltype(next(0));
  Batch<T> batch;
  const auto flush = [&] {
    if (batch.count == 0) return;
    launch({name, batch.blocks, kThreads, context.stream}, update_kernel<kFirst, kSecond, T, Step>, batch,
           next(batch.count));
    batch.count = batch.blocks = 0;
  };
  for (const OptimizerTensor& tensor : tensors) {
    if (!is_updated(tensor, dtype, kFirst)) continue;
    const int i = batch.count++;
    batch.first_block[i] = batch.blocks;
    batch.blocks += static_cast<int>(blocks_for(tensor.size, kBlockElements));
    batch.size[i] = tensor.size;
    batch.value[i] = static_cast<T*>(tensor.value);
    batch.grad[i] = static_cast<const T*>(tensor.grad);
    batch.first[i] = static_cast<T*>(tensor.first);
    batch.second[i] = static_cast<T*>(tensor.second);
    if (batch.count == kTensors) flush();
  }
  flush();
}

void check_dtypes(const char* op, std::span<const OptimizerTensor> tensors) {
  for (const OptimizerTensor& tensor : tensors) {
    if (tensor.dtype != DType::f32 && tensor.dtype != DType::f64) {
      throw DTypeError(std::string("cuda: ") + op + " of " + std::string(name(tensor.dtype)) + " is not supported");
    }
  }
}

}  // namespace

void CudaBackend::sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
                      const ConstView& learning_rate) {
  check_dtypes("sgd", tensors);
  const auto update = [&]<class T>(Type<T>, DType dtype) {
    const SgdStep<T> step{learning_rate.as<double>(), static_cast<T>(arguments.momentum),
                          static_cast<T>(arguments.weight_decay), arguments.nesterov, arguments.buffer_holds_steps};
    const auto next = [&](int) { return step; };
    update_all<false, false, T>(context_, "sgd", dtype, tensors, next);
    update_all<true, false, T>(context_, "sgd", dtype, tensors, next);
  };
  update(Type<float>{}, DType::f32);
  update(Type<double>{}, DType::f64);
}

void CudaBackend::adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
                       const ConstView& learning_rate) {
  check_dtypes("adam", tensors);
  std::vector<std::int64_t*> steps;  // in the order of the updates; tensors without elements follow
  steps.reserve(tensors.size());
  const auto add_steps = [&](const auto& is_next) {
    for (const OptimizerTensor& tensor : tensors) {
      if (is_next(tensor)) steps.push_back(tensor.step);
    }
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    add_steps([&](const OptimizerTensor& tensor) { return is_updated(tensor, dtype, true); });
  }
  add_steps([](const OptimizerTensor& tensor) { return tensor.size == 0; });

  const Scratch scratch(context_, steps.size() * sizeof(AdamRates));
  AdamRates* rates = scratch.as<AdamRates>();
  for (std::size_t begin = 0; begin < steps.size(); begin += kCounts) {
    Counts counts;
    counts.count = static_cast<int>(std::min<std::size_t>(kCounts, steps.size() - begin));
    std::copy_n(steps.data() + begin, counts.count, counts.step);
    const int half = static_cast<int>(blocks_for(counts.count, kWarp)) * kWarp;
    launch({"adam rates", 1, 2 * half, context_.stream}, adam_rates_kernel, counts, arguments,
           learning_rate.as<double>(), rates + begin);
  }
  const auto update = [&]<class T>(Type<T>, DType dtype) {
    AdamStep<T> step{rates,
                     static_cast<T>(arguments.beta1),
                     static_cast<T>(1 - arguments.beta1),
                     static_cast<T>(arguments.beta2),
                     static_cast<T>(1 - arguments.beta2),
                     static_cast<T>(arguments.eps),
                     static_cast<T>(arguments.decoupled ? 0 : arguments.weight_decay)};
    update_all<true, true, T>(context_, "adam", dtype, tensors, [&](int count) {
      step.of_tensors = rates;
      rates += count;
      return step;
    });
  };
  update(Type<float>{}, DType::f32);
  update(Type<double>{}, DType::f64);
}

}  // namespace weft::cuda
