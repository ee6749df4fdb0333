#include "tests/op_reference.h"

#include <algorithm>

namespace weft::cases {

namespace {

std::size_t position(const Sizes& shape, const Index& index) {
  std::int64_t at = 0;
  for (std::size_t i = 0; i < shape.size(); ++i) at = at * shape[i] + index[i];
  return static_cast<std::size_t>(at);
}

}  // namespace

double Plain::at(const Index& index) const { return values.at(position(shape, index)); }
double& Plain::at(const Index& index) { return values.at(position(shape, index)); }

double Plain::broadcast_at(const Index& index) const {
  const std::size_t absent = index.size() - shape.size();
  std::int64_t position = 0;
  for (std::size_t i = 0; i < shape.size(); ++i)
    position = position * shape[i] + (shape[i] == 1 ? 0 : index[absent + i]);
  return values.at(static_cast<std::size_t>(position));
}

std::int64_t count(const Sizes& shape) {
  std::int64_t product = 1;
  for (std::int64_t size : shape) product *= size;
  return product;
}

void for_each_index(const Sizes& shape, const std::function<void(const Index&)>& f) {
  Index index(shape.size(), 0);
  for (std::int64_t left = count(shape); left > 0; --left) {
    f(index);
    for (std::size_t i = shape.size(); i-- > 0;) {
      if (++index[i] < shape[i]) break;
      index[i] = 0;
    }
  }
}

Plain generate(const Sizes& shape, const std::function<double(const Index&)>& f) {
  Plain result{shape, {}};
  result.values.reserve(static_cast<std::size_t>(count(shape)));
  for_each_index(shape, [&](const Index& index) { result.values.push_back(f(index)); });
  return result;
}

Plain reshaped(const Plain& x, const Sizes& shape) { return {shape, x.values}; }

Sizes broadcast_shape(const Sizes& a, const Sizes& b) {
  Sizes result(std::max(a.size(), b.size()), 1);
  for (const Sizes* shape : {&a, &b}) {
    const std::size_t added = result.size() - shape->size();
    for (std::size_t i = 0; i < shape->size(); ++i) {
      if ((*shape)[i] != 1) result[i + added] = (*shape)[i];
    }
  }
  return result;
}

Plain map(const Plain& x, const std::function<double(double)>& f) {
  Plain result = x;
  for (double& value : result.values) value = f(value);
  return result;
}

Plain zip(const Plain& a, const Plain& b, const std::function<double(double, double)>& f) {
  return generate(broadcast_shape(a.shape, b.shape),
                  [&](const Index& i) { return f(a.broadcast_at(i), b.broadcast_at(i)); });
}

Plain reduce(const Plain& x, const std::vector<int>& axes, bool keep_axes,
             const std::function<double(const std::vector<double>&)>& f) {
  Sizes kept = x.shape;
  for (int axis : axes) kept[static_cast<std::size_t>(axis)] = 1;
  std::vector<std::vector<double>> groups(static_cast<std::size_t>(count(kept)));
  for_each_index(x.shape, [&](const Index& index) {
    Index group = index;
    for (int axis : axes) group[static_cast<std::size_t>(axis)] = 0;
    groups[position(kept, group)].push_back(x.at(index));
  });
  Plain result;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const bool reduced = std::find(axes.begin(), axes.end(), static_cast<int>(i)) != axes.end();
    if (!reduced || keep_axes) result.shape.push_back(kept[i]);
  }
  for (const std::vector<double>& group : groups) result.values.push_back(f(group));
  return result;
}

Plain along(const Plain& x, int axis, const std::function<void(std::vector<double>&)>& f) {
  Plain result = x;
  const auto at = static_cast<std::size_t>(axis);
  Sizes lines = x.shape;
  lines[at] = 1;
  if (count(x.shape) == 0) return result;
  for_each_index(lines, [&](const Index& line) {
    std::vector<double> values;
    Index index = line;
    for (index[at] = 0; index[at] < x.shape[at]; ++index[at]) values.push_back(x.at(index));
    f(values);
    for (index[at] = 0; index[at] < x.shape[at]; ++index[at])
      result.at(index) = values[static_cast<std::size_t>(index[at])];
  });
  return result;
}

}  // namespace weft::cases
