#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "weft/array.h"

/// The parts of a training step that no gradient flows through. Each is one kernel, or one for each dtype, works in
/// place on arrays of one device and waits for nothing, so that it can be part of a recorded step. Nothing is written
/// where one throws. Arrays that are written must not overlap.
namespace weft {

/// One parameter of an optimizer's step. Its gradient and state have the dtype, shape and strides of its value, which
/// is dense and f32 or f64.
struct ParameterStep {
  Array value;  ///< written
  Array gradient;
  Array first = {};   ///< written; SGD's momentum, undefined without one, or Adam's first moment
  Array second = {};  ///< written; Adam's second moment
  Array step = {};    ///< i64 (); Adam's steps of this parameter so far, advanced by 1
};

struct SgdStepOptions {
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool buffer_holds_steps = false;  ///< David Page's form, where the momentum holds steps instead of gradients
};

/// One step of stochastic gradient descent at the rate, f64 ():
///
///     d = gradient + weight_decay·w,  v = momentum·v + d,  w -= rate·(nesterov ? d + momentum·v : v)       (PyTorch)
///     d = -rate·(gradient + weight_decay·w),  v = momentum·v + d,  w += nesterov ? d + momentum·v : v
///
/// The second line holds with buffer_holds_steps. Throws Error on an undefined array, DTypeError, ShapeError and
/// DeviceError, and ValueError unless exactly a step with momentum has `first`.
void sgd_step(std::span<const ParameterStep> parameters, const SgdStepOptions& options, const Array& rate);

struct AdamStepOptions {
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< AdamW (Loshchilov and Hutter 2019): w -= rate·weight_decay·w first
};

/// One step of Adam with bias correction (Kingma and Ba 2015) at the rate, f64 (). Each parameter's correction is by
/// its own `step`. Throws as sgd_step.
void adam_step(std::span<const ParameterStep> parameters, const AdamStepOptions& options, const Array& rate);

/// Adds the sum of losses (rows,) to loss_sum, f64 (), and the number of rows of logits (rows, classes) whose argmax is
/// the label to hits, i64 (). Logits are f32, f64 or, on a GPU, bf16, labels i64 (rows,), losses f64 of f64 logits and
/// f32 of others; all are row-major. Throws Error, DTypeError, ShapeError or DeviceError.
void tally(const Array& logits, const Array& labels, const Array& losses, const Array& loss_sum, const Array& hits);

/// How a batch is made of images with a byte for each value. Each image is padded by `padding`, cropped back at a
/// random place, mirrored with probability 1/2, and cut by a square of side `cutout`, and becomes (byte / 255 - mean) /
/// stddev by channel. Padding and the square are the mean colour, 0.
struct ImageBatchOptions {
  int padding = 0;
  bool reflect = false;  ///< pad by reflection instead
  bool flip = false;
  int cutout = 0;
  std::array<float, 3> mean{}, stddev{1, 1, 1};
  std::uint64_t seed = 0;  ///< of the random choices, which also depend on the epoch and on the image's number
};

/// Writes image number order[first + i] of `images` to out[i], and its label to out_labels[i]. Shapes: images u8 (N, C,
/// H, W) with at most 3 channels and 1024 rows and columns, labels u8 (N,), order i64 of numbers below N, all
/// row-major; clock i64 (2,): the epoch, and `first`, which is advanced by the number of images in out; out (B, C, H,
/// W) in channels-last order, f32 or, on a GPU, bf16; out_labels i64 (B,). Positions beyond the order wrap around. The
/// numbers in `order` are not looked at. Throws Error, DTypeError, ShapeError, DeviceError, or ValueError on an option.
void image_batch(const Array& images, const Array& labels, const Array& order, const Array& clock, const Array& out,
                 const Array& out_labels, const ImageBatchOptions& options);

/// Images (N, C, H, W) and labels (N,) in host memory.
struct HostImages {
  std::span<const std::uint8_t> images, labels;
  std::int64_t channels = 0, height = 0, width = 0;
};

/// The same on the CPU from host memory, without a copy of it: out and out_labels are arrays on the CPU. Throws
/// IndexError on a number in `order` that is not below N.
void image_batch(const HostImages& images, std::span<const std::int64_t> order, std::int64_t epoch, std::int64_t first,
                 const Array& out, const Array& out_labels, const ImageBatchOptions& options);

}  // namespace weft
