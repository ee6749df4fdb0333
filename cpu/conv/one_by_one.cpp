#include "cpu/conv/algorithms.h"

#include <algorithm>

#include "cpu/matmul/gemm.h"
#include "cpu/runtime/threads.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kBiasRows = 256;

template <class T>
void fill_rows(std::int64_t rows, std::int64_t columns, const T* row, T* out) {
  parallel_blocks(rows, kBiasRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(row, columns, out + i * columns);
  });
}

}  // namespace

template <class T>
void conv_one_by_one(ConvPass pass, const ConvShape& s, const T* a, const T* b, const T* bias, T* out) {
  const std::int64_t rows = s.n * s.out[0] * s.out[1] * s.out[2];
  const std::int64_t channels = s.c / s.groups, filters = s.k / s.groups, weight = filters * channels;
  if (pass == ConvPass::forward && bias != nullptr) fill_rows(rows, s.k, bias, out);
  for (std::int64_t g = 0; g < s.groups; ++g) {
    switch (pass) {
      case ConvPass::forward:
        gemm(false, true, rows, filters, channels, a + g * channels, s.c, b + g * weight, channels, bias != nullptr,
             out + g * filters, s.k);
        break;
      case ConvPass::input_grad:
        gemm(false, false, rows, channels, filters, a + g * filters, s.k, b + g * weight, channels, false,
             out + g * channels, s.c);
        break;
      case ConvPass::weight_grad:
        gemm(true, false, filters, channels, rows, a + g * filters, s.k, b + g * channels, s.c, false, out + g * weight,
             channels);
        break;
    }
  }
}

template void conv_one_by_one(ConvPass, const ConvShape&, const float*, const float*, const float*, float*);
template void conv_one_by_one(ConvPass, const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace weft::cpu
