#pragma once

#include "weft/scalar.h"
#include "weft/tensor.h"

/// Comparisons and logic. Every function that returns a Tensor gives bool, has no gradient, and broadcasts. It throws
/// ShapeError, DTypeError, DeviceError or ValueError naming itself, the rule and the values.
namespace weft {

// Comparisons by mathematical value, whatever the dtypes are: u8 255 is less than 300, and i64 2^53 + 1 is not f64
// 2^53. NaN is unequal to everything. A floating number beside a floating tensor is rounded to the tensor's dtype
// first, so that an f32 0.1 equals 0.1, except where it would become infinite.
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, Scalar b);
Tensor not_equal(const Tensor& a, Scalar b);
Tensor less(const Tensor& a, Scalar b);
Tensor less_equal(const Tensor& a, Scalar b);
Tensor greater(const Tensor& a, Scalar b);
Tensor greater_equal(const Tensor& a, Scalar b);

inline Tensor operator==(const Tensor& a, const Tensor& b) { return equal(a, b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return not_equal(a, b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return less(a, b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return less_equal(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return greater(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return greater_equal(a, b); }
inline Tensor operator==(const Tensor& a, Scalar b) { return equal(a, b); }
inline Tensor operator!=(const Tensor& a, Scalar b) { return not_equal(a, b); }
inline Tensor operator<(const Tensor& a, Scalar b) { return less(a, b); }
inline Tensor operator<=(const Tensor& a, Scalar b) { return less_equal(a, b); }
inline Tensor operator>(const Tensor& a, Scalar b) { return greater(a, b); }
inline Tensor operator>=(const Tensor& a, Scalar b) { return greater_equal(a, b); }
inline Tensor operator==(Scalar a, const Tensor& b) { return equal(b, a); }
inline Tensor operator!=(Scalar a, const Tensor& b) { return not_equal(b, a); }
inline Tensor operator<(Scalar a, const Tensor& b) { return greater(b, a); }
inline Tensor operator<=(Scalar a, const Tensor& b) { return greater_equal(b, a); }
inline Tensor operator>(Scalar a, const Tensor& b) { return less(b, a); }
inline Tensor operator>=(Scalar a, const Tensor& b) { return less_equal(b, a); }

// Logic of any dtype, where what is not 0 is true.
Tensor logical_not(const Tensor& x);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_xor(const Tensor& a, const Tensor& b);

// Logic of bool. Throws DTypeError on another dtype, because in PyTorch these are bit operations of integers.
Tensor operator&(const Tensor& a, const Tensor& b);
Tensor operator|(const Tensor& a, const Tensor& b);
Tensor operator^(const Tensor& a, const Tensor& b);
Tensor operator!(const Tensor& x);

/// Returns whether a and b have one shape and equal elements by mathematical value; their dtypes may differ. Waits for
/// the device.
bool array_equal(const Tensor& a, const Tensor& b);

struct AllcloseOptions {
  double rtol = 1e-5;
  double atol = 1e-8;
  bool equal_nan = false;  ///< whether NaN is close to NaN
};
/// Returns whether |a - b| <= atol + rtol·|b| in f64, or a equals b, for all elements, which broadcast. Waits for the
/// device. Throws ValueError on a negative tolerance.
bool allclose(const Tensor& a, const Tensor& b, const AllcloseOptions& options = {});

}  // namespace weft
