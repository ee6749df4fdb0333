#pragma once

#include <cstdint>
#include <functional>
#include <vector>

/// Plain row-major doubles and loops over their indices: what the references of the table of cases are written in.
/// Knows nothing of weft.
namespace weft::cases {

using Sizes = std::vector<std::int64_t>;
using Index = std::vector<std::int64_t>;

struct Plain {
  Sizes shape;
  std::vector<double> values;

  double at(const Index& index) const;
  double& at(const Index& index);
  /// Reads at the index of a result that this was broadcast to: aligned on the right, axes of size 1 at 0.
  double broadcast_at(const Index& index) const;
};

std::int64_t count(const Sizes& shape);
void for_each_index(const Sizes& shape, const std::function<void(const Index&)>& f);
/// The value f(index) at every index.
Plain generate(const Sizes& shape, const std::function<double(const Index&)>& f);
/// The same values in the same order.
Plain reshaped(const Plain& x, const Sizes& shape);
Sizes broadcast_shape(const Sizes& a, const Sizes& b);

Plain map(const Plain& x, const std::function<double(double)>& f);
Plain zip(const Plain& a, const Plain& b, const std::function<double(double, double)>& f);

/// f of all the elements that share a position on the axes kept, in row-major order.
Plain reduce(const Plain& x, const std::vector<int>& axes, bool keep_axes,
             const std::function<double(const std::vector<double>&)>& f);
/// f maps each line along the axis, in place.
Plain along(const Plain& x, int axis, const std::function<void(std::vector<double>&)>& f);

}  // namespace weft::cases
