#include "cpu/conv/algorithms.h"

#include "core/device/conv_reference.h"
#include "cpu/runtime/threads.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kGrain = 64;

std::int64_t volume(const std::array<std::int64_t, 3>& size) { return size[0] * size[1] * size[2]; }

template <class T, class Element>
void fill(std::int64_t count, T* out, const Element& element) {
  parallel_blocks(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = static_cast<T>(element(i));
  });
}

}  // namespace

template <class T>
void conv_reference(ConvPass pass, const ConvShape& s, const T* a, const T* b, const T* bias, T* out) {
  switch (pass) {
    case ConvPass::forward:
      return fill(s.n * volume(s.out) * s.k, out, [&](std::int64_t i) { return reference::forward(s, a, b, bias, i); });
    case ConvPass::input_grad:
      return fill(s.n * volume(s.in) * s.c, out, [&](std::int64_t i) { return reference::input_grad(s, a, b, i); });
    case ConvPass::weight_grad:
      return fill(s.k * volume(s.filter) * (s.c / s.groups), out,
                  [&](std::int64_t i) { return reference::weight_grad(s, a, b, i); });
  }
}

template void conv_reference(ConvPass, const ConvShape&, const float*, const float*, const float*, float*);
template void conv_reference(ConvPass, const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace weft::cpu
