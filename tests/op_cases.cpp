#include "tests/op_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>

namespace weft::cases {

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> all = [] {
    std::vector<OpCase> rows;
    for (const auto& family :
         {unary_cases, activation_cases, binary_cases, view_cases, copy_cases, indexing_cases, reduce_cases,
          composed_cases, matmul_cases, conv_cases, conv_family_cases, im2col_cases, pool_cases, pool_family_cases,
          interpolate_cases, norm_cases, group_norm_cases, loss_cases}) {
      const std::vector<OpCase> more = family();
      rows.insert(rows.end(), more.begin(), more.end());
    }
    return rows;
  }();
  return all;
}

Shape to_shape(const Sizes& sizes) { return Shape(std::span<const std::int64_t>(sizes)); }

std::string describe(const OpCase& row) {
  std::string text = row.op;
  for (const Input& input : row.inputs) {
    text.append(" ").append(weft::to_string(to_shape(input.shape)));
    if (input.dtype) text.append(name(*input.dtype));
  }
  if (!row.what.empty()) text.append(": ").append(row.what);
  return text;
}

namespace {

double draw(Values values, std::int64_t limit, std::mt19937_64& random) {
  const auto between = [&](double low, double high) {
    return static_cast<double>(static_cast<float>(std::uniform_real_distribution<double>(low, high)(random)));
  };
  const auto whole = [&](std::int64_t low, std::int64_t high) {
    return static_cast<double>(std::uniform_int_distribution<std::int64_t>(low, high)(random));
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kSpecial[] = {
      std::numeric_limits<double>::quiet_NaN(), kInfinity, -kInfinity, 0.0, -0.0, 0x1p-140, -0x1.8p127};
  switch (values) {
    case Values::any:
      return between(-2, 2);
    case Values::positive:
      return between(0.2, 3);
    case Values::unit:
      return between(-0.9, 0.9);
    case Values::nonzero:
      return between(0.2, 2) * (whole(0, 1) == 0 ? 1 : -1);
    case Values::distinct:
      return 0;
    case Values::fractional:
      return whole(-6, 6) * 0.5 + between(0.1, 0.4);
    case Values::whole:
      return whole(-4, 4);
    case Values::natural:
      return whole(0, limit - 1);
    case Values::special:
      return kSpecial[static_cast<std::size_t>(whole(0, 6))];
  }
  return 0;
}

}  // namespace

std::vector<Plain> make_inputs(const OpCase& row) {
  std::seed_seq seed(row.op.begin(), row.op.end());
  std::mt19937_64 random(seed);
  std::vector<Plain> inputs;
  for (const Input& input : row.inputs) {
    Plain plain = generate(input.shape, [&](const Index&) { return draw(input.values, input.limit, random); });
    if (input.values == Values::distinct) {
      const double step = std::exp2(std::floor(std::log2(4.0 / (static_cast<double>(plain.values.size()) + 1))));
      for (std::size_t i = 0; i < plain.values.size(); ++i) plain.values[i] = -2 + step * static_cast<double>(i + 1);
      std::shuffle(plain.values.begin(), plain.values.end(), random);
    }
    inputs.push_back(std::move(plain));
  }
  return inputs;
}

std::string to_string(Placement placement) {
  switch (placement) {
    case Placement::contiguous:
      return "contiguous";
    case Placement::transposed:
      return "transposed";
    case Placement::channels_last:
      return "channels last";
    case Placement::offset:
      return "offset";
    case Placement::reversed:
      return "reversed";
    case Placement::broadcast:
      return "broadcast";
    case Placement::mixed:
      return "mixed";
  }
  return {};
}

Placement placement_of(Placement placement, std::size_t i) {
  constexpr Placement kRotation[] = {Placement::channels_last, Placement::reversed, Placement::transposed,
                                     Placement::offset};
  return placement == Placement::mixed ? kRotation[i % 4] : placement;
}

namespace {

int first_long_axis(const Sizes& shape) {
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] > 1) return static_cast<int>(i);
  }
  return -1;
}

// Strides for axes laid down from the fastest to the slowest, `gap` elements behind each line of the fastest.
Strides packed(const Shape& shape, const std::vector<int>& fastest_first, std::int64_t gap) {
  Strides strides = Shape::filled(shape.rank(), 1);
  std::int64_t step = 1;
  for (int axis : fastest_first) {
    strides[axis] = step;
    step = step * std::max<std::int64_t>(shape[axis], 1) + (axis == fastest_first.front() ? gap : 0);
  }
  return strides;
}

Layout place(const Shape& shape, Placement placement) {
  const int rank = shape.rank();
  std::vector<int> order;  // fastest first
  for (int i = rank - 1; i >= 0; --i) order.push_back(i);
  if (placement == Placement::transposed) std::reverse(order.begin(), order.end());
  if (placement == Placement::channels_last && rank >= 3) {
    order.erase(std::find(order.begin(), order.end(), 1));
    order.insert(order.begin(), 1);
  }
  Layout layout(shape, packed(shape, order, placement == Placement::offset ? 3 : 0),
                placement == Placement::contiguous ? 0 : 7);
  if (placement == Placement::reversed) {
    for (int i = 0; i < rank; ++i) {
      layout.offset += std::max<std::int64_t>(shape[i] - 1, 0) * layout.strides[i];
      layout.strides[i] = -layout.strides[i];
    }
  }
  return layout;
}

}  // namespace

Plain broadcast_values(const Plain& values) {
  const int axis = first_long_axis(values.shape);
  if (axis < 0 || count(values.shape) == 0) return values;
  return generate(values.shape, [&](Index index) {
    index[static_cast<std::size_t>(axis)] = 0;
    return values.at(index);
  });
}

Placed::Placed(const Plain& values, DType dtype, Placement placement, const Device& device) {
  const Shape shape = to_shape(values.shape);
  Layout layout = place(shape, placement);
  std::int64_t reach = layout.offset;
  for (int i = 0; i < shape.rank(); ++i)
    reach += std::max<std::int64_t>(shape[i] - 1, 0) * std::max<std::int64_t>(layout.strides[i], 0);
  whole_ = Array::full({reach + 9}, 77, dtype, device);
  const int axis = placement == Placement::broadcast ? first_long_axis(values.shape) : -1;
  Plain written = values;
  if (axis >= 0 && values.values.size() > 0) {
    Layout narrow = layout;
    narrow.shape[axis] = 1;
    Sizes sizes = values.shape;
    sizes[static_cast<std::size_t>(axis)] = 1;
    written = generate(sizes, [&](const Index& index) { return values.at(index); });
    layout.strides[axis] = 0;
    whole_.view(narrow).copy_from(Array::from(std::span<const double>(written.values), narrow.shape, device));
  } else {
    whole_.view(layout).copy_from(Array::from(std::span<const double>(values.values), shape, device));
  }
  array_ = whole_.view(layout);
  before_ = snapshot();
}

std::vector<double> Placed::snapshot() const { return whole_.to(DType::f64).to_vector<double>(); }

bool Placed::is_unchanged() const {
  const std::vector<double> now = snapshot();
  return std::equal(now.begin(), now.end(), before_.begin(), before_.end(),
                    [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); });
}

Plain to_plain(const Tensor& tensor) {
  Plain result;
  result.shape.assign(tensor.shape().begin(), tensor.shape().end());
  result.values = tensor.array().to(DType::f64).to_vector<double>();
  return result;
}

}  // namespace weft::cases
