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
    const std::int64_t of_channels = g * channels, of_filters = g * filters, of_weight = g * weight;
    switch (pass) {
      case ConvPass::forward:  // y = x·weightᵀ
        gemm<T>({.trans_b = true,
                 .m = rows,
                 .n = filters,
                 .k = channels,
                 .a = a + of_channels,
                 .lda = s.c,
                 .b = b + of_weight,
                 .ldb = channels,
                 .accumulate = bias != nullptr,
                 .c = out + of_filters,
                 .ldc = s.k});
        break;
      case ConvPass::input_grad:  // x_grad = y_grad·weight
        gemm<T>({.m = rows,
                 .n = channels,
                 .k = filters,
                 .a = a + of_filters,
                 .lda = s.k,
                 .b = b + of_weight,
                 .ldb = channels,
                 .c = out + of_channels,
                 .ldc = s.c});
        break;
      case ConvPass::weight_grad:  // weight_grad = y_gradᵀ·x
        gemm<T>({.trans_a = true,
                 .m = filters,
                 .n = channels,
                 .k = rows,
                 .a = a + of_filters,
                 .lda = s.k,
                 .b = b + of_channels,
                 .ldb = s.c,
                 .c = out + of_weight,
                 .ldc = channels});
        break;
    }
  }
}

template void conv_one_by_one(ConvPass, const ConvShape&, const float*, const float*, const float*, float*);
template void conv_one_by_one(ConvPass, const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace weft::cpu
