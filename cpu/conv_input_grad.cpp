#include <algorithm>

#include "cpu/conv_product.h"

namespace weft::cpu {

template <class T>
void conv_input_grad(const ConvShape& shape, const T* y_grad, const T* weight, T* x_grad) {
  if (shape.c == 0) return;
  const std::int64_t taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t padded = padded_columns<T>(channels);
  const std::vector<ConvPhase> phases = input_grad_phases(shape);
  std::int64_t size = shape.groups * padded;
  for (const ConvPhase& phase : phases) size += shape.groups * padded * phase.columns.taps() * filters;
  T* const zeros = conv_scratch<T>(kConvPackSlot, size);
  T* packed = zeros + shape.groups * padded;
  std::fill(zeros, packed, T(0));

  std::vector<ConvProduct<T>> products;
  for (const ConvPhase& phase : phases) {
    pack_weight(phase.columns, shape.filter, shape.groups, channels,
                {weight, filters * taps * channels, channels, taps * channels, 1}, packed);
    products.push_back({phase.columns, shape.groups, y_grad, packed, zeros, x_grad, shape.c, phase.first, shape.stride,
                        shape.in});
    packed += shape.groups * padded * phase.columns.taps() * filters;
  }
  run(products);
}

template void conv_input_grad<float>(const ConvShape&, const float*, const float*, float*);
template void conv_input_grad<double>(const ConvShape&, const double*, const double*, double*);

}  // namespace weft::cpu
