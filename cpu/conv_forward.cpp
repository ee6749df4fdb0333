#include <algorithm>

#include "cpu/conv_product.h"

namespace weft::cpu {

template <class T>
void conv_forward(const ConvShape& shape, const T* x, const T* weight, const T* bias, T* y) {
  if (shape.k == 0) return;
  const std::int64_t taps = shape.filter[0] * shape.filter[1] * shape.filter[2];
  const std::int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
  const std::int64_t padded = padded_columns<T>(filters);
  ConvProduct<T> product;
  product.columns = forward_columns(shape);
  product.groups = shape.groups;
  product.source = x;
  product.out = y;
  product.channels = shape.k;
  product.extent = shape.out;

  T* start = conv_scratch<T>(kConvPackSlot, shape.groups * padded * (1 + product.columns.taps() * channels));
  T* packed = start + shape.groups * padded;
  std::fill(start, packed, T(0));
  for (std::int64_t k = 0; bias != nullptr && k < shape.k; ++k) start[k / filters * padded + k % filters] = bias[k];
  pack_weight(product.columns, shape.filter, shape.groups, filters,
              {weight, filters * taps * channels, channels, 1, taps * channels}, packed);
  product.bias = start;
  product.weight = packed;
  run<T>({product});
}

template void conv_forward<float>(const ConvShape&, const float*, const float*, const float*, float*);
template void conv_forward<double>(const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace weft::cpu
