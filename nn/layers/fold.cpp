#include "weft/nn/fold.h"

#include <string>

#include "weft/error.h"

namespace weft::nn {
namespace {

/// What a norm does to channel k of its input: times scale[k] plus shift[k]. Both (K,), f64.
struct Affine {
  Tensor scale, shift;
};

Affine affine_of(const BatchNorm& norm, const Tensor& weight, std::int64_t channels) {
  if (norm.is_training())
    throw ValueError("fold_batch_norm: the norm is in training mode, where its statistics are the batch's");
  const std::int64_t features = norm.running_mean().size();
  if (features != channels) {
    throw ShapeError("fold_batch_norm: the layer has " + std::to_string(channels) + " output channels but the norm " +
                     std::to_string(features) + " features");
  }
  if (norm.running_mean().device() != weight.device()) {
    throw DeviceError("fold_batch_norm: the layer is on " + to_string(weight.device()) + " but the norm on " +
                      to_string(norm.running_mean().device()));
  }
  const auto wide = [](const Tensor& x) { return to(x, DType::f64); };
  const Tensor scale = wide(norm.weight()) / sqrt(wide(norm.running_var()) + norm.options().eps);
  return {scale, wide(norm.bias()) - wide(norm.running_mean()) * scale};
}

Tensor folded_bias(const Affine& affine, const Tensor& bias, DType dtype) {
  return to(bias.defined() ? to(bias, DType::f64) * affine.scale + affine.shift : affine.shift, dtype);
}

/// The layer with a weight (K, ...) folded; for all but transposed convolutions.
template <class Layer>
Layer folded(const Layer& layer, const BatchNorm& norm) {
  const NoGrad off;
  const Tensor& weight = layer.weight();
  const Affine affine = affine_of(norm, weight, weight.size(0));
  Shape per_channel = Dims::filled(weight.rank(), 1);
  per_channel[0] = weight.size(0);
  return layer.with_parameters(to(to(weight, DType::f64) * reshape(affine.scale, per_channel), weight.dtype()),
                               folded_bias(affine, layer.bias(), weight.dtype()));
}

/// `prefix`: of the names of what is below.
void check_evaluation(const Module& module, const std::string& prefix) {
  for (const auto& [name, child] : module.named_children()) {
    std::string full = prefix;
    full += name;
    if (child->is_training()) throw ValueError("fold_batch_norms: the model's " + full + " is in training mode");
    check_evaluation(*child, full += '.');
  }
}

/// The layer and the norm as one, where they are of these types; null otherwise.
template <class First, class Norm>
std::shared_ptr<Layer> folded_pair(const Layer& layer, const Layer& norm) {
  const auto* first = dynamic_cast<const First*>(&layer);
  const auto* second = dynamic_cast<const Norm*>(&norm);
  if (first == nullptr || second == nullptr) return nullptr;
  return std::make_shared<First>(fold_batch_norm(*first, *second));
}

std::shared_ptr<Layer> folded_pair(const Layer& layer, const Layer& norm) {
  if (auto pair = folded_pair<Conv, BatchNorm2d>(layer, norm)) return pair;
  if (auto pair = folded_pair<Conv1d, BatchNorm1d>(layer, norm)) return pair;
  if (auto pair = folded_pair<Conv2d, BatchNorm2d>(layer, norm)) return pair;
  if (auto pair = folded_pair<Conv3d, BatchNorm3d>(layer, norm)) return pair;
  if (auto pair = folded_pair<ConvTranspose1d, BatchNorm1d>(layer, norm)) return pair;
  if (auto pair = folded_pair<ConvTranspose2d, BatchNorm2d>(layer, norm)) return pair;
  return folded_pair<ConvTranspose3d, BatchNorm3d>(layer, norm);
}

void append_folded(const Sequential& from, Sequential& to);

std::shared_ptr<Layer> folded_tree(const std::shared_ptr<Layer>& layer) {
  if (const auto* sequence = dynamic_cast<const Sequential*>(layer.get())) {
    Sequential result;
    append_folded(*sequence, result);
    return std::make_shared<Sequential>(result);
  }
  if (const auto* residual = dynamic_cast<const Residual*>(layer.get())) {
    Residual result;
    append_folded(residual->body(), result.body());
    return std::make_shared<Residual>(result);
  }
  return layer;
}

void append_folded(const Sequential& from, Sequential& to) {
  const std::vector<std::shared_ptr<Layer>>& layers = from.layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::shared_ptr<Layer> pair = i + 1 < layers.size() ? folded_pair(*layers[i], *layers[i + 1]) : nullptr;
    to.append(pair ? pair : folded_tree(layers[i]));
    if (!pair) continue;
    to.append(Identity());
    ++i;
  }
}

}  // namespace

template <int N>
ConvNd<N> fold_batch_norm(const ConvNd<N>& layer, const BatchNorm& norm) {
  return folded(layer, norm);
}

Conv fold_batch_norm(const Conv& layer, const BatchNorm& norm) { return folded(layer, norm); }
Linear fold_batch_norm(const Linear& layer, const BatchNorm& norm) { return folded(layer, norm); }

template <int N>
ConvTransposeNd<N> fold_batch_norm(const ConvTransposeNd<N>& layer, const BatchNorm& norm) {
  const NoGrad off;
  const Tensor& weight = layer.weight();  // (C, K/groups, ...): its rows of one group share the group's channels
  const std::int64_t groups = layer.options().groups, in_group = weight.size(1);
  const Affine affine = affine_of(norm, weight, groups * in_group);
  const Tensor of_groups = reshape(affine.scale, {groups, 1, in_group});
  Shape per_row = Dims::filled(weight.rank(), 1);
  per_row[0] = weight.size(0);
  per_row[1] = in_group;
  const Tensor scale = reshape(expand(of_groups, {groups, weight.size(0) / groups, in_group}), per_row);
  return layer.with_parameters(to(to(weight, DType::f64) * scale, weight.dtype()),
                               folded_bias(affine, layer.bias(), weight.dtype()));
}

template ConvNd<1> fold_batch_norm(const ConvNd<1>&, const BatchNorm&);
template ConvNd<2> fold_batch_norm(const ConvNd<2>&, const BatchNorm&);
template ConvNd<3> fold_batch_norm(const ConvNd<3>&, const BatchNorm&);
template ConvTransposeNd<1> fold_batch_norm(const ConvTransposeNd<1>&, const BatchNorm&);
template ConvTransposeNd<2> fold_batch_norm(const ConvTransposeNd<2>&, const BatchNorm&);
template ConvTransposeNd<3> fold_batch_norm(const ConvTransposeNd<3>&, const BatchNorm&);

Sequential fold_batch_norms(const Sequential& model) {
  if (model.is_training()) throw ValueError("fold_batch_norms: the model is in training mode");
  check_evaluation(model, "");
  Sequential result;
  append_folded(model, result);
  result.eval();  // of what is the model's own, nothing changes
  return result;
}

}  // namespace weft::nn
