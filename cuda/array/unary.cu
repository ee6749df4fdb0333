#include "cuda/array/functions.cuh"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

struct AnyUnary {
  using Op = UnaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE std::common_type_t<X...> operator()(X... x) const {
    switch (op) {
      WEFT_UNARY_NUMERIC(WEFT_NUMBERS)
      WEFT_UNARY_FLOAT(WEFT_FLOATS)
      default:
        break;
    }
    return {};
  }
};
struct AnyUnaryPredicate {
  using Op = UnaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE bool operator()(X... x) const {
    switch (op) {
      WEFT_UNARY_PREDICATE(WEFT_NUMBERS)
      default:
        return false;
    }
  }
};

}  // namespace

#define WEFT_OF_NUMBERS(NAME) WEFT_APPLY(AnyUnary, NAME, numbers, x)
#define WEFT_OF_FLOATS(NAME) WEFT_APPLY(AnyUnary, NAME, floating, x)
#define WEFT_TO_BOOL(NAME) WEFT_APPLY_PREDICATE(AnyUnaryPredicate, NAME, x)

void CudaBackend::unary(UnaryOp op, const ConstView& x, const View& out) {
  Context& context = context_;
  switch (op) {
    WEFT_UNARY_NUMERIC(WEFT_OF_NUMBERS)
    WEFT_UNARY_FLOAT(WEFT_OF_FLOATS)
    WEFT_UNARY_PREDICATE(WEFT_TO_BOOL)
    case UnaryOp::count:
      break;
  }
}

}  // namespace weft::cuda
