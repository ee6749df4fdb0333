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
#include "weft/precision.h"
#include "weft/scalar.h"
#include "weft/shape.h"

/// The device contract. Core checks arguments, infers shapes and allocates; a backend only fills `out`. It sees plain
/// views (address, layout, dtype), never arrays or gradients. A view that is absent has null data. Views never alias
/// unless a method says so. Any size may be 0. Dtypes in parentheses are supported only where computes(dtype) is true.
/// A result depends on a method's arguments alone. Only copy_to_host and synchronize wait for the device.
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

/// Interpolation is a linear map; adjoint is its transpose.
enum class InterpolatePass : std::uint8_t { forward, adjoint };

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

/// One pass of a convolution on dense channels-last memory. All views have one dtype, f32 or f64 (bf16), except that
/// weight, bias and their gradients are f32 where x and y are bf16; weight and bias may be rounded to bf16.
///
///     pass         a              b          bias      out          bias_grad
///     forward      x              weight     optional  y            absent
///     input_grad   y's gradient   weight     absent    x's gradient absent
///     weight_grad  y's gradient   x          absent    weight's     optional: the sum of y's gradient over images and
///                                                      gradient     positions, (k,), dense, in a fixed tree
struct ConvCall {
  ConvPass pass = ConvPass::forward;
  ConvShape shape;                        ///< shape.algo is `automatic` or applies (core/device/conv_algo.h)
  Precision precision = Precision::fp32;  ///< in which f32 products are computed: fp32 or tf32
  ConstView a, b, bias = {};
  View out, bias_grad = {};
};

// Batch normalisation of dense x (rows, channels), f32 or f64 (bf16). The other vectors are (channels,) of x's dtype,
// f32 where x and y are bf16. y = (x - mean)·scale + shift, the product and the sum by one fused multiply-add where the
// instruction set has it; with relu a negative y becomes 0; then residual is added, which is dense like x.

struct RunningStatistics {
  View mean = {}, var = {};
  View batches = {};  ///< one i64, which is advanced by 1
  double momentum = 0.1;
  bool unbiased = true;  ///< var counts with the divisor rows - 1
};

/// Normalises by the batch's statistics. Equal values have exactly their mean, so y is the bias there. Squares may
/// leave the range of the dtype; inverse_std and scale must not.
struct BatchNormForward {
  ConstView x, weight, bias, residual = {};
  double eps = 1e-5;
  bool relu = false;
  View y;
  View mean;         ///< (2, channels): the mean rounded, which is subtracted, and the rest that rounding left
  View inverse_std;  ///< 1/√(var + eps)
  View scale;        ///< weight·inverse_std
  View shift;        ///< bias - rest·scale
  RunningStatistics running = {};  ///< mean and var are updated unless they are absent or there are no rows
};

/// Normalises by running_mean and running_var; the shift is bias.
struct BatchNormInference {
  ConstView x, weight, bias, running_mean, running_var, residual = {};
  double eps = 1e-5;
  bool relu = false;
  View y;
};

/// mean, inverse_std, scale and shift are what BatchNormForward wrote. With relu the gradient passes where
/// (x - mean)·scale + shift > 0, computed as in the forward pass, before any rounding to bf16. shift is read only then.
struct BatchNormGradient {
  ConstView y_grad, x, mean, inverse_std, scale, shift = {};
  bool relu = false;
  View x_grad, weight_grad, bias_grad;
};

/// What becomes of the losses of rows: one each, or one number of all. mean is over the rows that count.
enum class LossReduction : std::uint8_t { none, sum, mean };

/// A row whose label is ignore_index does not count, whatever its logits: its loss is 0, and so is its gradient.
struct CrossEntropyArguments {
  double smoothing = 0;  ///< the share of the target spread evenly over the classes
  std::optional<std::int64_t> ignore_index = {};
  LossReduction reduction = LossReduction::none;
};

/// The loss of each row of logits (rows, classes), f32 or f64, with labels (rows,) i64. A label outside the classes
/// gives NaN.
struct CrossEntropyForward {
  ConstView logits, labels;
  CrossEntropyArguments arguments;
  View losses;  ///< (rows,), or one number of a reduction, which is added in double in a fixed tree
  View count;   ///< one f64: the number of rows that count; only for mean, which is NaN of no rows
};

struct CrossEntropyGradient {
  ConstView logits, labels;
  CrossEntropyArguments arguments;
  ConstView losses_grad;  ///< (rows,) with any stride, or one number of a reduction
  ConstView count;        ///< for mean: what CrossEntropyForward wrote
  View logits_grad;
};

/// Elements of x by their places along one axis: out(i) = x(i with index(i) along the axis). x has out's rank, and
/// along the other axes at least out's sizes; index is i64 of out's shape. x and out have one dtype of any kind. An
/// index outside of the axis gives NaN, of integers and bool 0.
struct GatherCall {
  ConstView x, index;
  int axis = 0;
  View out;
};

/// The adjoint: for each i in row-major order, out(i with index(i) along the axis) = source(i), or += source(i) where
/// it adds (then not f16 and not bool). index is i64 of source's shape. out has the same rank, and along the other axes
/// at least these sizes. An index outside of the axis has no effect.
struct ScatterCall {
  ConstView source, index;
  int axis = 0;
  bool adds = false;
  View out;
};

/// Sums of a batch for a log: loss_sum += the sum of losses in double, in a fixed tree; hits += the number of rows of
/// dense logits (rows, classes), f32 or f64 (bf16), whose argmax is the label.
struct TallyCall {
  ConstView logits, labels;  ///< labels (rows,) i64
  ConstView losses;          ///< (rows,), f64 with logits of f64, otherwise f32
  View loss_sum, hits;       ///< one f64, one i64
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
/// or with buffer_holds_steps d = -lr·d; buf = momentum·buf + d; value += nesterov ? d + momentum·buf : buf  (David
/// Page's).
struct SgdArguments {
  double momentum = 0, weight_decay = 0;
  bool nesterov = false, buffer_holds_steps = false;
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

/// Makes a batch of images first, first + 1, ... of an order. Positions beyond the order wrap around.
struct ImageBatchCall {
  ImageBatchArguments arguments;
  ConstView images, labels;  ///< dense planar u8 (N, channels, height, width), and u8 (N,)
  ConstView order;           ///< i64 indices of images
  View clock;                ///< two i64: the epoch, on which the random choices depend, and first, advanced by count
  View out;                  ///< dense channels-last (count, height, width, channels), f32 (bf16)
  View out_labels;           ///< (count,) i64
};

/// Work that was recorded once and can be enqueued again as a whole.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void launch() = 0;
  /// Returns how many kernels, copies and fills a launch has on a GPU; 0 on the CPU.
  virtual std::int64_t nodes() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Facts, which may be asked without the lock of a BackendHandle.
  /// Whether arithmetic on the dtype is supported: on a GPU every dtype except f16, on the CPU neither f16 nor bf16.
  virtual bool computes(DType dtype) const = 0;
  /// What the device is, in one line for people to read: a GPU's name, compute capability, memory, driver and runtime;
  /// the CPU's threads and kernels.
  virtual std::string description() const = 0;
  /// The algorithm that conv takes for `automatic`: by a table, the same in every run.
  virtual ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype) const = 0;
  /// Whether batch_norm and batch_norm_grad also take x, y and their gradients with the strides (1, rows), so that the
  /// values of a channel lie one after another; without residual, ReLU and running statistics.
  virtual bool norms_rows() const { return false; }

  // Memory. Addresses are aligned to 64 bytes at least; allocate throws OutOfMemoryError.
  virtual void* allocate(std::size_t bytes) = 0;
  /// May be called without the lock of a BackendHandle, also by destructors that run after the driver is gone.
  virtual void deallocate(void* address, std::size_t bytes) noexcept = 0;
  virtual MemoryStatistics memory_statistics() const = 0;
  virtual void release_cached_memory() = 0;
  virtual void copy_from_host(void* out, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* in, std::size_t bytes) = 0;
  virtual void synchronize() = 0;
  /// Records what fn enqueues instead of running it (the CPU has nothing to record and keeps fn, which its launch()
  /// calls). Memory that fn allocates or frees stays reserved for the Replay while it lives; all else that fn reads and
  /// writes must outlive it. fn must not wait for the device, nor for a thread that uses it. What fn throws is passed
  /// on, with nothing recorded.
  virtual std::unique_ptr<Replay> capture(const std::function<void()>& fn) = 0;
  /// Returns the number of matrix products handed to cuBLASLt so far, where recorded ones count once; 0 on the CPU.
  virtual std::uint64_t matrix_products() const = 0;

  // Pointwise. Shapes of operands equal out's (broadcast axes have stride 0).
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

  virtual void gather(const GatherCall& call) = 0;
  virtual void scatter(const ScatterCall& call) = 0;

  // Reductions: out has x's rank, with size 1 where an axis is reduced. x and out have one dtype (f32, f64, i32, i64,
  // u8, bool for max and min), except that a sum (of bf16) may be f32.
  virtual void reduce(ReduceOp op, const ConstView& x, const View& out) = 0;
  /// Along one axis, of size > 0; out is i64 with size 1 there. The first of equals wins; NaN wins.
  virtual void arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) = 0;

  /// Running sums along one axis: out at j is the sum of x at 0 to j, in an order that the shape and the strides fix. x
  /// and out have one shape and dtype: f32 (summed in f64), f64, i64, which wraps (bf16, summed in f64).
  virtual void cumsum(const ConstView& x, int axis, const View& out) = 0;
  /// indices, i64: the places along the axis of x's elements in order. Along the axis it may be shorter than x, and
  /// takes the first ones; otherwise it has x's shape. Equal elements, -0 and +0 among them, keep their order; NaN is
  /// larger than all else. Every dtype except f16 (bf16).
  virtual void argsort(const ConstView& x, int axis, bool descending, const View& indices) = 0;

  /// (B, m, k) x (B, k, n) -> dense row-major (B, m, n); strides of a and b are free. f32, f64, i32, i64, u8 (bf16).
  /// precision: in which products of f32 are computed, fp32 or tf32.
  virtual void matmul(const ConstView& a, const ConstView& b, Precision precision, const View& out) = 0;

  // Convolution, pooling and interpolation on dense channels-last memory, f32 or f64 (bf16).
  virtual void conv(const ConvCall& call) = 0;
  virtual void pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices,
                    const View& out) = 0;
  /// forward: x -> y (core/device/interpolate.h says from which elements). adjoint: the gradient of y -> x's.
  virtual void interpolate(InterpolatePass pass, const InterpolateShape& shape, const ConstView& in,
                           const View& out) = 0;

  virtual void batch_norm(const BatchNormForward& call) = 0;
  virtual void batch_norm_inference(const BatchNormInference& call) = 0;
  virtual void batch_norm_grad(const BatchNormGradient& call) = 0;

  // Rows of dense (rows, columns), f32 or f64 (softmax: bf16).
  virtual void softmax(bool log, const ConstView& x, const View& y) = 0;
  virtual void softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) = 0;
  virtual void cross_entropy(const CrossEntropyForward& call) = 0;
  virtual void cross_entropy_grad(const CrossEntropyGradient& call) = 0;
  virtual void tally(const TallyCall& call) = 0;

  /// uniform: [low, high); normal: mean low, standard deviation high; integer: [low, high). out is dense.
  virtual void random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) = 0;

  virtual void image_batch(const ImageBatchCall& call) = 0;

  // One pass over all parameters. `learning_rate` is one f64 on the device. adam takes β^t of each tensor from the
  // tensor's own step alone and advances that step by 1, also for a tensor without elements.
  virtual void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
                   const ConstView& learning_rate) = 0;
  virtual void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
                    const ConstView& learning_rate) = 0;

 protected:
  friend class BackendHandle;
  /// Takes the backend's lock, makes its device current in this thread, and returns the one that was. The CPU has
  /// nothing to take.
  virtual int enter() = 0;
  /// Undoes enter().
  virtual void leave(int previous) noexcept = 0;
};

/// The backend of a device. `handle->method()` holds the backend's lock, with its device current in this thread, to the
/// end of the expression.
class BackendHandle {
 public:
  explicit BackendHandle(Backend& backend) : backend_(&backend) {}

  /// Holds the lock.
  class Locked {
   public:
    explicit Locked(Backend& backend) : backend_(backend), previous_(backend.enter()) {}
    ~Locked() { backend_.leave(previous_); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    Backend* operator->() const { return &backend_; }

   private:
    Backend& backend_;
    int previous_;
  };

  Locked operator->() const { return Locked(*backend_); }
  /// The backend without its lock, for the methods that say that they need none.
  Backend& unlocked() const { return *backend_; }

 private:
  Backend* backend_;
};

/// The backend of a device; the only place that knows which exist. Throws DeviceError when the device is not available.
BackendHandle backend(const Device& device);

}  // namespace weft
