#include <algorithm>
#include <array>
#include <string>

#include "core/device/conv_algo.h"
#include "core/device/conv_plan.h"
#include "core/device/integer.h"
#include "cpu/conv/algorithms.h"
#include "cpu/conv/conv_product.h"
#include "cpu/conv/depthwise.h"
#include "cpu/conv/winograd.h"
#include "cpu/runtime/backend.h"
#include "weft/error.h"

namespace weft::cpu {
namespace {

// Where Winograd's algorithm was at least 1.25 times as fast on every instruction set (docs/performance.md).
struct WinogradBounds {
  std::int64_t channels;   // of x and of y, at least
  std::int64_t positions;  // of all images, at least: the weight is transformed once for them
};
constexpr WinogradBounds kWinograd{16, 256}, kWinogradWeightGrad{32, 512};

/// Whether tiles of 4 cover the map with at most three fifths more than it has.
bool tiles_fit(std::int64_t height, std::int64_t width) {
  return 5 * 16 * ceil_div(height, 4) * ceil_div(width, 4) <= 8 * height * width;
}

/// Rows of channels without positions: the product alone, of which there is nothing to gather.
bool is_linear(const ConvShape& s) {
  return is_one_by_one(s) && s.groups == 1 && s.in == std::array<std::int64_t, 3>{1, 1, 1};
}

template <class T>
void conv_forward(const ConvShape& shape, const T* x, const T* weight, const T* bias, T* y) {
  if (shape.k == 0) return;
  const std::int64_t taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t padded = padded_columns<T>(filters);
  const ConvColumns columns = forward_columns(shape);
  T* const start = conv_scratch<T>(ScratchSlot::shared, shape.groups * padded * (1 + columns.taps() * channels));
  T* const packed = start + shape.groups * padded;
  std::fill(start, packed, T(0));
  for (std::int64_t k = 0; bias != nullptr && k < shape.k; ++k) start[k / filters * padded + k % filters] = bias[k];
  pack_weight(columns, shape.filter, shape.groups, filters,
              {weight, filters * taps * channels, channels, 1, taps * channels}, packed);
  multiply_products<T>({{columns, shape.groups, x, packed, start, y, shape.k, {0, 0, 0}, {1, 1, 1}, shape.out}});
}

template <class T>
void conv_input_grad(const ConvShape& shape, const T* y_grad, const T* weight, T* x_grad) {
  if (shape.c == 0) return;
  const std::int64_t taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t padded = padded_columns<T>(channels);
  const std::vector<ConvPhase> phases = input_grad_phases(shape);
  if (has_gaps(shape)) std::fill_n(x_grad, shape.n * shape.in[0] * shape.in[1] * shape.in[2] * shape.c, T(0));
  std::int64_t kept = 0;
  for (const ConvPhase& phase : phases) kept += phase.columns.taps();
  T* const zeros = conv_scratch<T>(ScratchSlot::shared, shape.groups * padded * (1 + kept * filters));
  T* packed = zeros + shape.groups * padded;
  std::fill(zeros, packed, T(0));
  std::vector<ConvProduct<T>> products;
  for (const ConvPhase& phase : phases) {
    pack_weight(phase.columns, shape.filter, shape.groups, channels,
                {weight, filters * taps * channels, channels, taps * channels, 1}, packed);
    products.push_back(
        {phase.columns, shape.groups, y_grad, packed, zeros, x_grad, shape.c, phase.first, shape.stride, shape.in});
    packed += shape.groups * padded * phase.columns.taps() * filters;
  }
  multiply_products(products);
}

template <class T>
void conv_im2col(ConvPass pass, const ConvShape& shape, const T* a, const T* b, const T* bias, T* out) {
  switch (pass) {
    case ConvPass::forward:
      return conv_forward(shape, a, b, bias, out);
    case ConvPass::input_grad:
      return conv_input_grad(shape, a, b, out);
    case ConvPass::weight_grad:
      return conv_weight_grad(shape, a, b, out);
  }
}

/// The map that Winograd's algorithm cuts into tiles: x's gradient, otherwise y or its gradient.
const std::array<std::int64_t, 3>& tiled_map(ConvPass pass, const ConvShape& s) {
  return pass == ConvPass::input_grad ? s.in : s.out;
}

/// F(2x2) where maps are too small for tiles of 4.
int winograd_tile(ConvPass pass, const ConvShape& s) {
  const std::array<std::int64_t, 3>& map = tiled_map(pass, s);
  return std::min(map[1], map[2]) > 2 ? 4 : 2;
}

template <class T>
void conv_of(const ConvCall& call, ConvAlgo algo) {
  const ConvPass pass = call.pass;
  const ConvShape& shape = call.shape;
  const T *const a = call.a.as<T>(), *const b = call.b.as<T>(), *const bias = call.bias.as<T>();
  T* const out = call.out.as<T>();
  switch (algo) {
    case ConvAlgo::reference:
      return conv_reference(pass, shape, a, b, bias, out);
    case ConvAlgo::direct:
      if (is_depthwise(shape) && !is_linear(shape)) return depthwise(pass, shape, a, b, bias, out);
      return conv_one_by_one(pass, shape, a, b, bias, out);
    case ConvAlgo::winograd: {
      const int tile = winograd_tile(pass, shape);
      const bool pinned = shape.algo == ConvAlgo::winograd && !shape.timed;
      if (pinned) return winograd(pass, tile, shape, a, b, bias, out);
      if (winograd_bounded(pass, tile, shape, a, b, bias, out)) return;
      return conv_im2col(pass, shape, a, b, bias, out);
    }
    case ConvAlgo::automatic:
    case ConvAlgo::im2col:
    case ConvAlgo::implicit_gemm:
      return conv_im2col(pass, shape, a, b, bias, out);
  }
}

}  // namespace

ConvAlgo CpuBackend::conv_algo(ConvPass pass, const ConvShape& shape, DType dtype) const {
  if (is_depthwise(shape) && shape.c > 1) return ConvAlgo::direct;
  if (is_linear(shape)) return ConvAlgo::direct;
  if (dtype != DType::f32 || !fits_winograd(shape)) return ConvAlgo::im2col;
  const std::array<std::int64_t, 3>& map = tiled_map(pass, shape);
  const WinogradBounds& least = pass == ConvPass::weight_grad ? kWinogradWeightGrad : kWinograd;
  const bool deep = std::min(shape.c, shape.k) >= least.channels;
  if (deep && shape.n * map[1] * map[2] >= least.positions && tiles_fit(map[1], map[2])) return ConvAlgo::winograd;
  return ConvAlgo::im2col;
}

/// im2col gathers columns a panel at a time, into the first-level cache, on their way into the product; taps that read
/// padding are left out.
void CpuBackend::conv(const ConvCall& call) {
  const DenormalMode mode;
  const ConvShape& shape = call.shape;
  const DType dtype = call.out.dtype;
  if (call.bias_grad.data != nullptr) {
    const BiasSum sum = bias_sum(shape, call.a, call.bias_grad);
    reduce(ReduceOp::sum, sum.y_grad, sum.bias_grad);
  }
  const ConvAlgo algo = shape.algo == ConvAlgo::automatic ? conv_algo(call.pass, shape, dtype) : shape.algo;
  if (dtype == DType::f32) return conv_of<float>(call, algo);
  if (dtype == DType::f64) return conv_of<double>(call, algo);
  throw DTypeError("conv: dtype " + std::string(name(dtype)) + ", expected f32 or f64");
}

}  // namespace weft::cpu
