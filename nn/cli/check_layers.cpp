#include "cli/check.h"

// Pooling, interpolation, normalisation and losses: cuda/spatial/pool*.cu, cuda/spatial/interpolate.cu,
// cuda/norm/norm*.cu and cuda/train/loss.cu.

namespace weft::cli::check {

namespace {

std::string of(const char* what, DType dtype) { return std::string(what) + " " + std::string(name(dtype)); }

/// A case for each dtype: f has x, an image batch that takes a gradient, and returns y.
void add(Family& family, const char* what, bool exact, const Shape& shape,
         const std::function<Tensor(const Tensor&)>& f) {
  for (const DType dtype : kFloats) {
    family.cases.push_back({of(what, dtype), exact ? kBits : bound_of(dtype),
                            [f, shape, dtype](const Device& device) {
                              const Tensor x = draw_leaf(shape, dtype, device, 70);
                              return with_gradients(f(x), {x});
                            },
                            only_gpu(dtype)});
  }
}

Family pooling_family() {
  Family family{"pooling", {}};
  const Shape images{3, 16, 12, 10};
  // A window's first largest element takes the gradient, and no windows overlap: nothing is added.
  add(family, "max 2x2", true, images, [](const Tensor& x) { return max_pool2d(x, 2); });
  add(family, "max 4x4", true, {2, 8, 8, 8}, [](const Tensor& x) { return max_pool2d(x, 4); });
  add(family, "max 3x3 stride 2", false, images,
      [](const Tensor& x) { return max_pool2d(x, 3, {.stride = 2, .padding = 1, .ceil_mode = true}); });
  add(family, "max of three axes, dilated", false, {2, 4, 6, 7, 5},
      [](const Tensor& x) { return max_pool3d(x, 2, {.stride = 1, .dilation = 2}); });
  add(family, "average 2x2", false, images, [](const Tensor& x) { return avg_pool2d(x, 2); });
  add(family, "average 3x3 stride 2", false, images,
      [](const Tensor& x) { return avg_pool2d(x, 3, {.stride = 2, .padding = 1, .count_include_pad = false}); });
  add(family, "adaptive average", false, images, [](const Tensor& x) { return adaptive_avg_pool2d(x, {5, 3}); });
  add(family, "adaptive max", false, images, [](const Tensor& x) { return adaptive_max_pool2d(x, {5, 3}); });
  add(family, "global average", false, images, [](const Tensor& x) { return global_avg_pool2d(x); });
  add(family, "global max", true, images, [](const Tensor& x) { return global_max_pool2d(x); });
  family.cases.push_back({"power f32", bound_of(DType::f32), [images](const Device& device) {
                            const Tensor x = draw_leaf(images, DType::f32, device, 71, true);
                            return with_gradients(lp_pool2d(x, 2, 2), {x});
                          }});
  family.cases.push_back({"places and unpooling f32", kBits, [images](const Device& device) {
                            const Tensor x = draw(images, DType::f32, device, 72);
                            const MaxPoolResult pooled = max_pool2d_with_indices(x, 2);
                            return Tensors{pooled.indices, max_unpool2d(pooled.output, pooled.indices, 2)};
                          }});
  return family;
}

Family interpolation_family() {
  Family family{"interpolation", {}};
  const Shape images{2, 6, 7, 9};
  add(family, "nearest, twice", false, images, [](const Tensor& x) { return interpolate(x, {.scale_factor = {2}}); });
  add(family, "nearest, smaller", false, images, [](const Tensor& x) { return interpolate(x, {.size = {4, 5}}); });
  add(family, "linear", false, images, [](const Tensor& x) {
    return interpolate(x, {.size = {11, 13}, .mode = InterpolateMode::linear});
  });
  add(family, "linear, corners aligned", false, images, [](const Tensor& x) {
    return interpolate(x, {.size = {5, 17}, .mode = InterpolateMode::linear, .align_corners = true});
  });
  return family;
}

struct BatchNormRow {
  const char* name;
  Shape x;
  bool relu = false, residual = false, training = true;
};

Tensors batch_normalised(const BatchNormRow& row, DType dtype, const Device& device) {
  const std::int64_t channels = row.x[1];
  const DType parameter = computed(dtype, device) == DType::bf16 ? DType::f32
                          : dtype == DType::bf16                 ? DType::f32
                                                                 : dtype;
  const Tensor x = draw_leaf(row.x, dtype, device, 73);
  const Tensor weight = draw_leaf({channels}, parameter, device, 74, true);
  const Tensor bias = draw_leaf({channels}, parameter, device, 75);
  const Tensor mean = draw({channels}, parameter, device, 76), variance = draw({channels}, parameter, device, 77, true);
  const Tensor residual = row.residual ? draw_leaf(row.x, dtype, device, 78) : Tensor();
  const Tensor y = batch_norm(x, weight, bias, mean, variance, {},
                              {.training = row.training, .relu = row.relu, .residual = residual});
  Tensors results = with_gradients(y, row.residual ? Tensors{x, weight, bias, residual} : Tensors{x, weight, bias});
  results.push_back(mean);
  results.push_back(variance);
  return results;
}

Family batch_norm_family() {
  Family family{"batch norm", {}};
  static const BatchNormRow kRows[] = {
      {"images", {8, 32, 9, 7}},
      {"images, ReLU and residual", {8, 32, 9, 7}, true, true},
      {"many rows", {16, 16, 24, 24}, true},
      {"odd channels", {5, 7, 6, 5}, true},
      {"features", {64, 130}},
      {"inference", {4, 24, 5, 5}, true, true, false},
  };
  for (const BatchNormRow& row : kRows) {
    for (const DType dtype : kFloats) {
      family.cases.push_back({of(row.name, dtype), dtype == DType::f32 ? 1e-5 : bound_of(dtype),
                              [&row, dtype](const Device& device) { return batch_normalised(row, dtype, device); },
                              only_gpu(dtype)});
    }
  }
  return family;
}

Family norm_family() {
  Family family{"other norms", {}};
  add(family, "group norm", false, {4, 12, 5, 6}, [](const Tensor& x) { return group_norm(x, 3); });
  add(family, "layer norm", false, {6, 5, 48}, [](const Tensor& x) { return layer_norm(x, {48}); });
  add(family, "instance norm", false, {3, 8, 9, 7}, [](const Tensor& x) { return instance_norm(x); });
  return family;
}

Family loss_family() {
  Family family{"softmax and losses", {}};
  add(family, "softmax", false, {37, 10}, [](const Tensor& x) { return softmax(x); });
  add(family, "softmax of an inner axis", false, {6, 33, 5}, [](const Tensor& x) { return softmax(x, 1); });
  add(family, "log_softmax", false, {9, 1030}, [](const Tensor& x) { return log_softmax(x); });
  for (const DType dtype : kFloats) {
    for (const double smoothing : {0.0, 0.125}) {
      family.cases.push_back({of(smoothing == 0 ? "cross entropy" : "cross entropy, smoothed", dtype), bound_of(dtype),
                              [smoothing, dtype](const Device& device) {
                                const Tensor logits = draw_leaf({65, 10}, dtype, device, 79);
                                const Tensor labels = draw_labels({65}, 10, device, 80);
                                return with_gradients(cross_entropy(logits, labels, {.label_smoothing = smoothing}),
                                                      {logits});
                              },
                              only_gpu(dtype)});
    }
  }
  family.cases.push_back({"cross entropy, weighted, of maps f32", bound_of(DType::f32), [](const Device& device) {
                            const Tensor logits = draw_leaf({3, 7, 5, 4}, DType::f32, device, 81);
                            const Tensor labels = draw_labels({3, 5, 4}, 7, device, 82);
                            const Tensor weight = draw({7}, DType::f32, device, 83, true);
                            return with_gradients(cross_entropy(logits, labels, {.weight = weight, .ignore_index = 2}),
                                                  {logits});
                          }});
  family.cases.push_back({"cross entropy with probabilities f32", bound_of(DType::f32), [](const Device& device) {
                            const Tensor logits = draw_leaf({33, 12}, DType::f32, device, 84);
                            const Tensor target = softmax(draw({33, 12}, DType::f32, device, 85));
                            return with_gradients(cross_entropy(logits, target), {logits});
                          }});
  family.cases.push_back({"losses of numbers f32", bound_of(DType::f32), [](const Device& device) {
                            const Tensor x = draw_leaf({41, 9}, DType::f32, device, 86);
                            const Tensor target = draw({41, 9}, DType::f32, device, 87);
                            const Tensor y = nn::mse_loss(x, target) + nn::l1_loss(x, target) +
                                             nn::huber_loss(x, target, 0.5) +
                                             nn::binary_cross_entropy_with_logits(x, relu(target) * 0.5);
                            return with_gradients(y, {x});
                          }});
  return family;
}

}  // namespace

void add_layers(std::vector<Family>& families) {
  families.push_back(pooling_family());
  families.push_back(interpolation_family());
  families.push_back(batch_norm_family());
  families.push_back(norm_family());
  families.push_back(loss_family());
}

}  // namespace weft::cli::check
