#pragma once

#include <optional>
#include <string_view>

#include "weft/shape.h"

/// The arithmetic of views: each function maps a layout to the layout of the view and throws, naming `op`, what does
/// not fit.
namespace weft::layout {

/// An axis counted from the end when negative. Throws IndexError.
int normalize_axis(std::string_view op, std::int64_t axis, int rank);
/// The mask of the axes; throws IndexError on an axis outside the rank, ValueError on one named twice.
std::array<bool, kMaxRank> axes_mask(std::string_view op, const Axes& axes, int rank);

Layout permute(const Layout& x, const Dims& axes);
Layout transpose(const Layout& x, int a, int b);
Layout slice(std::string_view op, const Layout& x, int axis, std::optional<std::int64_t> start,
             std::optional<std::int64_t> stop, std::int64_t step);
Layout select(const Layout& x, int axis, std::int64_t index);
/// Stride 0 on the axes that grow. -1 keeps a size.
Layout expand(std::string_view op, const Layout& x, const Shape& shape);
Layout squeeze(const Layout& x, const Axes& axes);
Layout unsqueeze(const Layout& x, int axis);
Layout flip(const Layout& x, const Axes& axes);
/// Offset relative to x's; of an empty shape row-major at 0. The caller checks the bounds.
Layout as_strided(const Layout& x, const Shape& shape, const Strides& strides, std::int64_t offset);
/// Resolves one -1 and checks the number of elements.
Shape reshaped(const Layout& x, const Shape& shape);
/// The view with the new shape, or nothing where the strides ask for a copy.
std::optional<Layout> reshape(const Layout& x, const Shape& shape);

/// NumPy's broadcast of two shapes. Throws ShapeError naming op and both.
Shape broadcast(std::string_view op, const Shape& a, const Shape& b);
/// Size 1 at the axes of the mask.
Shape with_reduced(const Shape& shape, const std::array<bool, kMaxRank>& mask);
/// Dense strides for an output of the given shape in the order of x's axes; row-major when the ranks differ or x is not
/// dense.
Layout dense_like(const Layout& x, const Shape& shape);

/// The first and last storage element that a layout touches, {0, -1} when empty. Throws IndexError on 64-bit overflow.
std::pair<std::int64_t, std::int64_t> extent(const Layout& x);
/// Whether two indices may share an element; never false where they do.
bool may_overlap(const Layout& x);

}  // namespace weft::layout
