#include "cuda/array/functions.cuh"
#include "cuda/runtime/backend.h"

namespace weft::cuda {
namespace {

struct AnyBinary {
  using Op = BinaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE std::common_type_t<X...> operator()(X... x) const {
    switch (op) {
      WEFT_BINARY_NUMERIC(WEFT_NUMBERS)
      WEFT_BINARY_FLOAT(WEFT_FLOATS)
      default:
        break;
    }
    return {};
  }
};
struct AnyBinaryPredicate {
  using Op = BinaryOp;
  Op op;
  template <class... X>
  WEFT_DEVICE bool operator()(X... x) const {
    switch (op) {
      WEFT_BINARY_PREDICATE(WEFT_NUMBERS)
      default:
        return false;
    }
  }
};

}  // namespace

#define WEFT_OF_NUMBERS(NAME) WEFT_APPLY(AnyBinary, NAME, numbers, a, b)
#define WEFT_OF_FLOATS(NAME) WEFT_APPLY(AnyBinary, NAME, floating, a, b)
#define WEFT_TO_BOOL(NAME) WEFT_APPLY_PREDICATE(AnyBinaryPredicate, NAME, a, b)

void CudaBackend::binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) {
  Context& context = context_;
  switch (op) {
    WEFT_BINARY_NUMERIC(WEFT_OF_NUMBERS)
    WEFT_BINARY_FLOAT(WEFT_OF_FLOATS)
    WEFT_BINARY_PREDICATE(WEFT_TO_BOOL)
    case BinaryOp::count:
      break;
  }
}

}  // namespace weft::cuda
