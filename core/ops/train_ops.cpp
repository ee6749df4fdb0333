#include "weft/train_ops.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/device/backend.h"
#include "core/value/views.h"
#include "weft/error.h"

namespace weft {

namespace {

/// An array in an error: "adam_step: parameter 3: the first moment", {"tally", "labels"}.
struct Operand {
  std::string_view op, what = {};
  std::int64_t parameter = -1;

  Operand part(std::string_view name) const { return {op, name, parameter}; }
  std::string text() const {
    std::string text(op);
    if (parameter >= 0) text.append(": parameter ").append(std::to_string(parameter));
    return what.empty() ? text : text.append(": ").append(what);
  }
};

void check_defined(const Operand& what, const Array& array) {
  if (!array.defined()) throw Error(what.text() + " is undefined");
}

void check_device(const Operand& what, const Array& array, const Device& device) {
  check_defined(what, array);
  if (array.device() == device) return;
  throw DeviceError(what.text() + " is on " + to_string(array.device()) + ", but the step is on " + to_string(device));
}

void check_dtype(const Operand& what, const Array& array, DType dtype) {
  if (array.dtype() == dtype) return;
  throw DTypeError(what.text() + " is " + std::string(name(array.dtype())) + ", expected " + std::string(name(dtype)));
}

/// Also the device, and row-major order.
void check_array(const Operand& what, const Array& array, const Device& device, DType dtype, const Shape& shape) {
  check_device(what, array, device);
  check_dtype(what, array, dtype);
  if (array.shape() != shape) {
    throw ShapeError(what.text() + " has shape " + to_string(array.shape()) + ", expected " + to_string(shape));
  }
  if (!array.layout().is_row_major()) {
    throw ShapeError(what.text() + " of shape " + to_string(shape) + " and strides " + to_string(array.strides()) +
                     " is not row-major");
  }
}

void check_rank(const Operand& what, const Array& array, int rank) {
  check_defined(what, array);
  if (array.rank() == rank) return;
  throw ShapeError(what.text() + " has shape " + to_string(array.shape()) + ", expected " + std::to_string(rank) +
                   " axes");
}

/// f32, f64 where `with_f64`, and bf16 where the device computes with it.
void check_floating(const Operand& what, const Array& array, bool with_f64) {
  const DType dtype = array.dtype();
  if (dtype == DType::f32 || (with_f64 && dtype == DType::f64)) return;
  if (dtype == DType::bf16 && backend(array.device()).unlocked().computes(dtype)) return;
  throw DTypeError(what.text() + " is " + std::string(name(dtype)) + ", which is not supported on " +
                   to_string(array.device()));
}

/// The same element at each place in memory, and no gaps.
void check_like(const Operand& what, const Array& array, const Array& value) {
  check_device(what, array, value.device());
  check_dtype(what, array, value.dtype());
  bool same = array.shape() == value.shape();
  for (int axis = 0; same && axis < value.rank(); ++axis) {
    same = value.shape()[axis] <= 1 || array.strides()[axis] == value.strides()[axis];
  }
  if (same) return;
  throw ShapeError(what.text() + " has shape " + to_string(array.shape()) + " and strides " +
                   to_string(array.strides()) + ", but the parameter " + to_string(value.shape()) + " and " +
                   to_string(value.strides()));
}

/// A value with its gradient.
void check_parameter(const Operand& which, const ParameterStep& parameter, const Device& device) {
  const Array& value = parameter.value;
  check_device(which, value, device);
  if (value.dtype() != DType::f32 && value.dtype() != DType::f64) {
    throw DTypeError(which.text() + " is " + std::string(name(value.dtype())) + ", only f32 and f64 are stepped");
  }
  if (!value.layout().is_dense()) {
    throw ShapeError(which.text() + " of shape " + to_string(value.shape()) + " and strides " +
                     to_string(value.strides()) + " is not dense");
  }
  check_like(which.part("the gradient"), parameter.gradient, value);
}

OptimizerTensor tensor_of(const ParameterStep& parameter) {
  OptimizerTensor tensor;
  tensor.value = parameter.value.data();
  tensor.grad = parameter.gradient.data();
  if (parameter.first.defined()) tensor.first = parameter.first.data();
  if (parameter.second.defined()) tensor.second = parameter.second.data();
  tensor.size = parameter.value.size();
  tensor.dtype = parameter.value.dtype();
  if (parameter.step.defined()) tensor.step = static_cast<std::int64_t*>(parameter.step.data());
  return tensor;
}

/// What the backend takes, after check(which, parameter) has looked at each.
template <class Check>
std::vector<OptimizerTensor> checked(std::string_view op, std::span<const ParameterStep> parameters, const Array& rate,
                                     const Check& check) {
  check_defined({op, "the rate"}, rate);
  check_array({op, "the rate"}, rate, rate.device(), DType::f64, {});
  std::vector<OptimizerTensor> tensors;
  tensors.reserve(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Operand which{op, {}, static_cast<std::int64_t>(i)};
    check_parameter(which, parameters[i], rate.device());
    check(which, parameters[i]);
    tensors.push_back(tensor_of(parameters[i]));
  }
  return tensors;
}

void bump_versions(std::initializer_list<Array> written) {
  for (const Array& array : written) {
    if (array.defined()) array.storage()->bump_version();
  }
}

}  // namespace

void sgd_step(std::span<const ParameterStep> parameters, const SgdStepOptions& options, const Array& rate) {
  const bool has_momentum = options.momentum != 0;
  const auto tensors = checked("sgd_step", parameters, rate, [&](const Operand& which, const ParameterStep& parameter) {
    if (parameter.first.defined() != has_momentum) {
      throw ValueError(which.text() + (has_momentum ? " has no momentum, but the options do"
                                                    : " has a momentum, but the options have none"));
    }
    if (has_momentum) check_like(which.part("the momentum"), parameter.first, parameter.value);
  });
  if (tensors.empty()) return;
  const SgdArguments arguments{.momentum = options.momentum,
                               .weight_decay = options.weight_decay,
                               .nesterov = options.nesterov,
                               .buffer_holds_steps = options.buffer_holds_steps};
  backend(rate.device())->sgd(tensors, arguments, const_view(rate));
  for (const ParameterStep& parameter : parameters) bump_versions({parameter.value, parameter.first});
}

void adam_step(std::span<const ParameterStep> parameters, const AdamStepOptions& options, const Array& rate) {
  const auto tensors =
      checked("adam_step", parameters, rate, [&](const Operand& which, const ParameterStep& parameter) {
        check_like(which.part("the first moment"), parameter.first, parameter.value);
        check_like(which.part("the second moment"), parameter.second, parameter.value);
        check_array(which.part("the step"), parameter.step, parameter.value.device(), DType::i64, {});
      });
  if (tensors.empty()) return;
  const AdamArguments arguments{.beta1 = options.beta1,
                                .beta2 = options.beta2,
                                .eps = options.eps,
                                .weight_decay = options.weight_decay,
                                .decoupled = options.decoupled};
  backend(rate.device())->adam(tensors, arguments, const_view(rate));
  for (const ParameterStep& parameter : parameters) {
    bump_versions({parameter.value, parameter.first, parameter.second, parameter.step});
  }
}

void tally(const Array& logits, const Array& labels, const Array& losses, const Array& loss_sum, const Array& hits) {
  check_rank({"tally", "logits"}, logits, 2);
  check_floating({"tally", "logits"}, logits, true);
  const Device& device = logits.device();
  const Shape rows{logits.shape()[0]};
  check_array({"tally", "logits"}, logits, device, logits.dtype(), logits.shape());
  check_array({"tally", "labels"}, labels, device, DType::i64, rows);
  check_array({"tally", "losses"}, losses, device, logits.dtype() == DType::f64 ? DType::f64 : DType::f32, rows);
  check_array({"tally", "loss_sum"}, loss_sum, device, DType::f64, {});
  check_array({"tally", "hits"}, hits, device, DType::i64, {});
  backend(device)->tally({.logits = const_view(logits),
                          .labels = const_view(labels),
                          .losses = const_view(losses),
                          .loss_sum = mutable_view(loss_sum),
                          .hits = mutable_view(hits)});
  bump_versions({loss_sum, hits});
}

namespace {

constexpr std::int64_t kMaxSide = 1024;  // kernels count the pixels of an image in int

/// Throws ValueError on an option, and ShapeError on images (N, C, H, W), that the kernels do not take.
void check_images(const Shape& images, const ImageBatchOptions& options) {
  const std::int64_t smaller = std::min(images[2], images[3]), larger = std::max(images[2], images[3]);
  if (images[1] < 1 || images[1] > 3 || smaller < 1 || larger > kMaxSide) {
    throw ShapeError("image_batch: images of shape " + to_string(images) +
                     " must have 1 to 3 channels and 1 to 1024 rows and columns");
  }
  const auto require = [](bool holds, const std::string& what, const Scalar& value) {
    if (!holds) throw ValueError("image_batch: " + what + " must not be " + to_string(value));
  };
  require(options.padding >= 0 && options.padding <= kMaxSide && (!options.reflect || options.padding < smaller),
          "padding", options.padding);
  require(options.cutout >= 0 && options.cutout <= smaller, "cutout", options.cutout);
  for (std::size_t c = 0; c < static_cast<std::size_t>(images[1]); ++c) {
    require(std::isfinite(options.mean[c]), "a mean", options.mean[c]);
    require(std::isfinite(options.stddev[c]) && options.stddev[c] > 0, "a standard deviation", options.stddev[c]);
  }
}

/// The results beside images (N, C, H, W).
void check_results(const Shape& images, const Device& device, const Array& out, const Array& out_labels) {
  check_rank({"image_batch", "out"}, out, 4);
  check_device({"image_batch", "out"}, out, device);
  check_floating({"image_batch", "out"}, out, false);
  const Shape expected{out.shape()[0], images[1], images[2], images[3]};
  if (out.shape() != expected) {
    throw ShapeError("image_batch: out has shape " + to_string(out.shape()) + ", expected " + to_string(expected));
  }
  if (!out.layout().is_channels_last()) {
    throw ShapeError("image_batch: out of shape " + to_string(out.shape()) + " and strides " +
                     to_string(out.strides()) + " is not channels-last");
  }
  check_array({"image_batch", "out_labels"}, out_labels, device, DType::i64, {out.shape()[0]});
}

/// Fills out, whose rows are channels-last, and out_labels by the kernel.
void fill_batch(const ConstView& images, const ConstView& labels, const ConstView& order, const View& clock,
                const Array& out, const Array& out_labels, const ImageBatchOptions& options) {
  const ImageBatchArguments arguments{.padding = options.padding,
                                      .reflect = options.reflect,
                                      .flip = options.flip,
                                      .cutout = options.cutout,
                                      .mean = options.mean,
                                      .stddev = options.stddev,
                                      .seed = options.seed};
  const Shape& shape = out.shape();
  const Shape rows{shape[0], shape[2], shape[3], shape[1]};
  backend(out.device())
      ->image_batch({.arguments = arguments,
                     .images = images,
                     .labels = labels,
                     .order = order,
                     .clock = clock,
                     .out = {out.data(), rows, row_major_strides(rows), out.dtype()},
                     .out_labels = mutable_view(out_labels)});
  bump_versions({out, out_labels});
}

}  // namespace

void image_batch(const Array& images, const Array& labels, const Array& order, const Array& clock, const Array& out,
                 const Array& out_labels, const ImageBatchOptions& options) {
  check_rank({"image_batch", "images"}, images, 4);
  const Device& device = images.device();
  check_array({"image_batch", "images"}, images, device, DType::u8, images.shape());
  check_images(images.shape(), options);
  check_array({"image_batch", "labels"}, labels, device, DType::u8, {images.shape()[0]});
  check_rank({"image_batch", "order"}, order, 1);
  check_array({"image_batch", "order"}, order, device, DType::i64, order.shape());
  check_array({"image_batch", "clock"}, clock, device, DType::i64, {2});
  check_results(images.shape(), device, out, out_labels);
  if (out.shape()[0] > 0 && (order.size() == 0 || images.shape()[0] == 0)) {
    throw ShapeError("image_batch: a batch of " + std::to_string(out.shape()[0]) + " cannot be made of no images");
  }
  fill_batch(const_view(images), const_view(labels), const_view(order), mutable_view(clock), out, out_labels, options);
  bump_versions({clock});
}

void image_batch(const HostImages& images, std::span<const std::int64_t> order, std::int64_t epoch, std::int64_t first,
                 const Array& out, const Array& out_labels, const ImageBatchOptions& options) {
  const auto count = static_cast<std::int64_t>(images.labels.size());
  const Shape shape{count, images.channels, images.height, images.width};
  check_images(shape, options);
  if (static_cast<std::int64_t>(images.images.size()) != element_count(shape)) {
    throw ShapeError("image_batch: images of shape " + to_string(shape) + " cannot have " +
                     std::to_string(images.images.size()) + " bytes");
  }
  check_results(shape, Device::cpu(), out, out_labels);
  const auto positions = static_cast<std::int64_t>(order.size());
  if (first < 0) throw ValueError("image_batch: first must not be " + std::to_string(first));
  for (std::int64_t i = 0; i < out.shape()[0]; ++i) {
    const std::int64_t image =
        positions > 0 ? order[static_cast<std::size_t>((first % positions + i) % positions)] : -1;
    if (image >= 0 && image < count) continue;
    throw IndexError("image_batch: image " + std::to_string(image) + " is outside [0, " + std::to_string(count) + ")");
  }
  std::array<std::int64_t, 2> clock{epoch, first};
  const auto view = [](const void* data, const Shape& of, DType dtype) {
    return ConstView{data, of, row_major_strides(of), dtype};
  };
  fill_batch(view(images.images.data(), shape, DType::u8), view(images.labels.data(), {count}, DType::u8),
             view(order.data(), {positions}, DType::i64), {clock.data(), {2}, {1}, DType::i64}, out, out_labels,
             options);
}

}  // namespace weft
