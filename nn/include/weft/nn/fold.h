#pragma once

#include "weft/nn/layers.h"

/// Batch norm in evaluation is one factor and one summand per channel, which the layer before it can take over: its
/// weight times γ/√(variance + ε), and (bias - mean)·γ/√(variance + ε) + β for its bias; in double precision, then
/// rounded to the layer's dtype. For inference; nothing is shared with the layer and the norm given.
namespace weft::nn {

/// The layer that gives norm(layer(x)). Throws ValueError when the norm is in training mode, ShapeError when its
/// features are not the layer's output channels, DeviceError when the two are on different devices.
template <int N>
ConvNd<N> fold_batch_norm(const ConvNd<N>& layer, const BatchNorm& norm);
template <int N>
ConvTransposeNd<N> fold_batch_norm(const ConvTransposeNd<N>& layer, const BatchNorm& norm);
Conv fold_batch_norm(const Conv& layer, const BatchNorm& norm);
/// For x (N, in) only: of x (N, L, in), a norm would normalise L.
Linear fold_batch_norm(const Linear& layer, const BatchNorm& norm);

/// The model, which is in evaluation mode, with the norm right after each convolution of the same number of axes
/// folded into it, within every Sequential and Residual of the tree. An Identity keeps the norm's place, so that the
/// names of the other parameters stay; layers without a norm, and modules of other kinds, are the model's own. Throws
/// as the function above, and ValueError where any part of the model is in training mode.
Sequential fold_batch_norms(const Sequential& model);

}  // namespace weft::nn
