#include "cpu/conv.h"

#include <string>

#include "cpu/conv_gather.h"
#include "weft/error.h"

namespace weft::cpu {
namespace {

template <class T>
void conv_of(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
             const View& out) {
  switch (pass) {
    case ConvPass::forward:
      return conv_forward(shape, a.as<T>(), b.as<T>(), bias ? bias->as<T>() : nullptr, out.as<T>());
    case ConvPass::input_grad: return conv_input_grad(shape, a.as<T>(), b.as<T>(), out.as<T>());
    case ConvPass::weight_grad: return conv_weight_grad(shape, a.as<T>(), b.as<T>(), out.as<T>());
  }
}

}  // namespace

void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
          const View& out) {
  if (out.dtype == DType::f32) return conv_of<float>(pass, shape, a, b, bias, out);
  if (out.dtype == DType::f64) return conv_of<double>(pass, shape, a, b, bias, out);
  throw DTypeError("conv: dtype " + std::string(name(out.dtype)) + ", expected f32 or f64");
}

}  // namespace weft::cpu
