#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/device/interpolate.h"
#include "core/device/scalar_ops.h"
#include "weft/conv_algo.h"
#include "weft/device.h"
#include "weft/dtype.h"
#include "weft/scalar.h"
#include "weft/shape.h"

/// The device contract. Core checks arguments, infers shapes and allocates; a backend only fills `out`. It sees plain
/// views (address, layout, dtype), never arrays or gradients. A dtype in brackets is one that only computes() promises.
/// Views never alias unless a method says so. Any size may be 0. No method synchronizes the device with the host but
/// copy_to_host and synchronize.
namespace weft {

/// max and min: NaN wins. sum adds in a fixed tree.
enum class ReduceOp : std::uint8_t { sum, max, min };
enum class ArgReduceOp : std::uint8_t { argmax, argmin };
enum class RandomKind : std::uint8_t { uniform, normal, integer };
enum class ConvPass : std::uint8_t { forward, input_grad, weight_grad };
enum class PoolPass : std::uint8_t {
  max,           ///< in x, out y; writes indices
  max_scatter,   ///< in the gradient of y, out the gradient of x; reads indices
  max_gather,    ///< in x, out y = x at the indices (the adjoint of max_scatter), 0 at -1
  average,       ///< in x, out y; no indices
  average_grad,  ///< in the gradient of y, out the gradient of x; no indices
  unpool,        ///< in y, out x, zeros before the call: x at the index of each y but -1; the last of equals wins
};

/// A resampling is a linear map; adjoint is its transpose.
enum class ResamplePass : std::uint8_t { forward, adjoint };

/// Elements in device memory: the address of the first one, and how the rest lie relative to it, in elements.
struct ConstView {
  const void* data = nullptr;
  Shape shape;
  Strides strides;
  DType dtype = DType::f32;

  int rank() const { return shape.rank(); }
  std::int64_t size() const { return element_count(shape); }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

struct View {
  void* data = nullptr;
  Shape shape;
  Strides strides;
  DType dtype = DType::f32;

  int rank() const { return shape.rank(); }
  std::int64_t size() const { return element_count(shape); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  operator ConstView() const { return {data, shape, strides, dtype}; }  // NOLINT(google-explicit-constructor)
};

/// Sizes of a convolution with up to three spatial axes {depth, height, width}; absent ones have size 1, stride 1,
/// padding 0. Memory: x (n, in..., c), weight (k, filter..., c/groups), y (n, out..., k), all dense with the channel
/// last.
struct ConvShape {
  std::int64_t n = 0, c = 0, k = 0, groups = 1;
  std::array<std::int64_t, 3> in{1, 1, 1}, filter{1, 1, 1}, out{1, 1, 1};
  std::array<std::int64_t, 3> stride{1, 1, 1}, padding{0, 0, 0},
      dilation{1, 1, 1};  // padding: before the first element
  ConvAlgo algo = ConvAlgo::automatic;
  bool timed = false;  // algo is what timing chose: it keeps the promise of `automatic`
};

/// Sizes of a pooling, memory as for ConvShape. Window o of an axis has o·stride - padding + j·dilation for j in [0,
/// kernel), or, adaptive, all of [⌊o·in/out⌋, ⌈(o + 1)·in/out⌉); elements outside of x do not count. Indices are i32,
/// shaped like y: the flat position (d·H + h)·W + w in the input's spatial axes, -1 for a window without an element.
/// unpool and max_gather take any indices below the size of x and need none of the windows.
struct PoolShape {
  std::int64_t n = 0, c = 0;
  std::array<std::int64_t, 3> in{1, 1, 1}, kernel{1, 1, 1}, out{1, 1, 1};
  std::array<std::int64_t, 3> stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
  bool adaptive = false;
  /// Averages (dilation 1) divide by it, or where it is 0 by the number of the window's positions in x, those in the
  /// padding included with count_padding.
  double divisor = 0;
  bool count_padding = true;
};

/// One stream of random numbers: element i takes number i mod 4 of Philox block (offset + i / 4) (f64 and i64: two
/// numbers each). `base`, unless null, is a number on the device that is added to the offset.
struct PhiloxKey {
  std::uint64_t seed = 0, stream = 0, offset = 0;
  const std::uint64_t* base = nullptr;
};

struct BatchNormArguments {
  double eps = 1e-5;
  double momentum = 0.1;
  bool unbiased_running = true;
  bool relu = false;
};

/// What becomes of the losses of rows: one each, or one number of all. mean is over the rows that count.
enum class LossReduction : std::uint8_t { none, sum, mean };

/// A row whose label is ignore_index does not count, whatever its logits: its loss is 0, and so is its gradient.
struct CrossEntropyArguments {
  double smoothing = 0;  ///< the share of the target spread evenly over the classes
  std::optional<std::int64_t> ignore_index = {};
  LossReduction reduction = LossReduction::none;
};

/// One parameter of a fused optimizer step: flat dense vectors of `size` elements of one dtype (f32 or f64), equal in
/// layout.
struct OptimizerTensor {
  void* value = nullptr;
  const void* grad = nullptr;
  void* first = nullptr;   ///< momentum (SGD; null without momentum) or first moment (Adam)
  void* second = nullptr;  ///< second moment (Adam)
  std::int64_t size = 0;
  DType dtype = DType::f32;
  std::int64_t* step = nullptr;  ///< Adam: the steps of this tensor so far, one number on the device, no other tensor's
};

/// d = grad + weight_decay·value; buf = momentum·buf + d; value -= lr·(nesterov ? d + momentum·buf : buf)  (PyTorch),
/// or with lr_inside d = -lr·d; buf = momentum·buf + d; value += nesterov ? d + momentum·buf : buf  (David Page's).
struct SgdArguments {
  double momentum = 0, weight_decay = 0;
  bool nesterov = false, lr_inside = false;
};

/// Kingma and Ba 2015 with bias correction; `decoupled` is AdamW (Loshchilov and Hutter 2019): value -=
/// lr·weight_decay·value first.
struct AdamArguments {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;
};

/// How a batch is made of 8-bit images (core/device/image_draw.h has the random choices): pad by `padding`, crop back,
/// mirror, cut a square out, normalise to (byte / 255 - mean) / stddev. Padding and the square are the mean colour, 0.
struct ImageBatchArguments {
  int padding = 0;
  bool reflect = false;  ///< pad by reflection instead
  bool flip = false;
  int cutout = 0;
  std::array<float, 3> mean{}, stddev{1, 1, 1};
  std::uint64_t seed = 0;
};

/// Work that was recorded once and can be enqueued again as a whole.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void run() = 0;
  /// Returns how many kernels, copies and fills a run has on a GPU; 0 on the CPU.
  virtual std::int64_t nodes() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// Whether arithmetic on the dtype is there: every dtype but f16 on a GPU, neither f16 nor bf16 on the CPU.
  virtual bool computes(DType dtype) const = 0;

  // Memory. Addresses are aligned to 64 bytes at least; allocate throws OutOfMemoryError.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void deallocate(void* address, std::size_t bytes) noexcept = 0;
  virtual MemoryStatistics memory_statistics() const = 0;
  virtual void release_cached_memory() = 0;
  virtual void copy_from_host(void* out, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* in, std::size_t bytes) = 0;
  virtual void synchronize() = 0;
  /// Records what fn enqueues instead of running it (the CPU has nothing to record and keeps fn, which its run()
  /// calls). Memory that fn allocates or frees stays reserved for the Replay while it lives; all else that fn reads and
  /// writes must outlive it. fn must not wait for the device, nor for a thread that uses it. What fn throws is passed
  /// on, with nothing recorded.
  virtual std::unique_ptr<Replay> capture(const std::function<void()>& fn) = 0;

  // Elementwise. Shapes of operands equal out's (broadcast axes have stride 0).
  virtual void fill(const View& out, Scalar value) = 0;
  /// out[i] = start + i·step, rank 1.
  virtual void arange(const View& out, Scalar start, Scalar step) = 0;
  /// The strided gather: any strides on both sides, converting between any two dtypes.
  virtual void copy(const ConstView& in, const View& out) = 0;
  /// x and out of one dtype; predicates write bool. out may be x itself.
  virtual void unary(UnaryOp op, const ConstView& x, const View& out) = 0;
  /// a, b and out of one dtype; predicates write bool. out may be a or b itself.
  virtual void binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) = 0;
  virtual void where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) = 0;
  /// out[j] += in[j] for all j in row-major order, where positions of out may overlap. f32, f64, i32, i64.
  virtual void accumulate(const ConstView& in, const View& out) = 0;

  // Reductions: out has x's rank, with size 1 where an axis is reduced. x and out have one dtype (f32, f64, i32, i64,
  // u8, bool for max and min), but a sum (of bf16) may be f32.
  virtual void reduce(ReduceOp op, const ConstView& x, const View& out) = 0;
  /// Along one axis, of size > 0; out is i64 with size 1 there. The first of equals wins; NaN wins.
  virtual void arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) = 0;

  /// (B, m, k) x (B, k, n) -> dense row-major (B, m, n); strides of a and b are free. f32, f64, i32, i64, u8 (bf16).
  virtual void matmul(const ConstView& a, const ConstView& b, const View& out) = 0;

  // Convolution, pooling and resampling on dense channels-last memory, f32 or f64 (bf16).
  /// forward: (x, weight) -> y, plus bias (k,) unless null. input_grad: (y's gradient, weight) -> x's. weight_grad:
  /// (y's gradient, x) -> weight's, and unless null bias_grad (k,), dense: the sum of y's gradient over images and
  /// positions in a fixed tree. Both are null for the other passes. All are of one dtype, but weight, bias and their
  /// gradients are f32 where x and y are bf16; weight and bias may be rounded to bf16. shape.algo is `automatic` or
  /// applies (core/device/conv_algo.h).
  virtual void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b,
                    const ConstView* bias, const View& out, const View* bias_grad) = 0;
  /// What conv takes for `automatic`: by a table, the same in every run.
  virtual ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype) const = 0;
  virtual void pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
                    const View& out) = 0;
  /// forward: x -> y (core/device/interpolate.h says from which elements). adjoint: the gradient of y -> x's.
  virtual void resample(ResamplePass pass, const ResampleShape& shape, const ConstView& in, const View& out) = 0;

  // Batch normalisation of dense x (rows, channels); the other vectors are (channels,), all of x's dtype (f32 where x
  // and y are bf16). y = (x - mean)·scale + shift, the product and the sum by one fused multiply-add where the
  // instruction set has it, with arguments.relu 0 where that is negative, and then plus residual, dense like x, unless
  // its data is null.
  /// Normalises by the batch's statistics. mean is (2, channels): the mean rounded, which is subtracted, and the rest
  /// that rounding left, so that their sum has twice the digits. Writes it, inverse_std = 1/√(var + eps),
  /// scale = weight·inverse_std and shift = bias - rest·scale, and updates the running statistics unless their data is
  /// null or there are no rows. Equal values have exactly their mean, so y is the bias there. Squares may leave the
  /// range of the dtype; inverse_std and scale must not. `batches` is one i64 that is advanced by 1, unless its data
  /// is null.
  virtual void batch_norm(const ConstView& x, const ConstView& weight, const ConstView& bias, const ConstView& residual,
                          const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                          const View& scale, const View& shift, const View& running_mean, const View& running_var,
                          const View& batches) = 0;
  /// Whether batch_norm and batch_norm_grad also take x, y and their gradients with the strides (1, rows), so that the
  /// values of a channel lie one after another; without residual, ReLU and running statistics.
  virtual bool norms_rows() const { return false; }
  /// The mean is running_mean and the shift bias.
  virtual void batch_norm_inference(const ConstView& x, const ConstView& weight, const ConstView& bias,
                                    const ConstView& running_mean, const ConstView& running_var,
                                    const ConstView& residual, const BatchNormArguments& arguments, const View& y) = 0;
  /// mean, inverse_std, scale and shift are what batch_norm wrote. With arguments.relu the gradient passes where
  /// (x - mean)·scale + shift > 0, computed as batch_norm does, before any rounding to bf16; shift is not read
  /// otherwise.
  virtual void batch_norm_grad(const ConstView& y_grad, const ConstView& x, const ConstView& mean,
                               const ConstView& inverse_std, const ConstView& scale, const ConstView& shift,
                               const BatchNormArguments& arguments, const View& x_grad, const View& weight_grad,
                               const View& bias_grad) = 0;

  // Rows of dense (rows, columns), f32 or f64 (softmax: bf16).
  virtual void softmax(bool log, const ConstView& x, const View& y) = 0;
  virtual void softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) = 0;
  /// losses of logits (rows, classes) and labels (rows,) i64; a label outside the classes gives NaN. losses is (rows,),
  /// or one number of a reduction, added in double in a fixed tree; count (one f64, or null but for mean) gets the
  /// number of rows that count, and the mean of none is NaN.
  virtual void cross_entropy(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                             const View& losses, const View& count) = 0;
  /// logits_grad from losses_grad, (rows,) with any stride, or one number of a reduction. For mean count is what
  /// cross_entropy wrote.
  virtual void cross_entropy_grad(const ConstView& logits, const ConstView& labels,
                                  const CrossEntropyArguments& arguments, const ConstView& losses_grad,
                                  const ConstView& count, const View& logits_grad) = 0;

  /// loss_sum (one f64) += the sum of losses (rows,) in double, in a fixed tree; hits (one i64) += the number of rows
  /// of dense logits (rows, classes) whose argmax is the label. losses: f64 of f64 logits, else f32. f32, f64 (bf16).
  virtual void tally(const ConstView& logits, const ConstView& labels, const ConstView& losses, const View& loss_sum,
                     const View& hits) = 0;

  /// uniform: [low, high); normal: mean low, standard deviation high; integer: [low, high). out is dense.
  virtual void random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) = 0;

  /// Image number order[first + i] of dense planar u8 images (N, channels, height, width) -> out[i], dense
  /// channels-last (count, height, width, channels), f32 (bf16), and its label (u8) -> out_labels[i], i64. `clock` is
  /// two i64 on the device: the epoch, which the random choices depend on, and `first`, which is advanced by count.
  /// Positions beyond the order wrap around.
  virtual void image_batch(const ImageBatchArguments& arguments, const ConstView& images, const ConstView& labels,
                           const ConstView& order, const View& clock, const View& out, const View& out_labels) = 0;

  // One pass over all parameters. `learning_rate` is one f64 on the device. adam takes β^t of each tensor from the
  // tensor's own step alone and advances that step by 1, also for a tensor without elements.
  virtual void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
                   const ConstView& learning_rate) = 0;
  virtual void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
                    const ConstView& learning_rate) = 0;
};

/// The backend of a device; the only place that knows which exist. Throws DeviceError when the device is not available.
Backend& backend(const Device& device);
/// What the device is, in one line for people to read: a GPU's name, compute capability, memory, driver and runtime;
/// the CPU's threads and kernels. Throws DeviceError when the device is not available.
std::string device_description(const Device& device);

}  // namespace weft
