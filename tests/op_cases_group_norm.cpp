#include <cmath>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

constexpr double kEps = 1e-3;

// Values whose keys are equal are brought to mean 0 and variance 1, up to eps.
Plain standardised(const Plain& x, std::int64_t keys, const std::function<std::int64_t(const Index&)>& key) {
  std::vector<double> number(static_cast<std::size_t>(keys)), mean(number), var(number);
  const auto at = [&](const Index& i) { return static_cast<std::size_t>(key(i)); };
  for_each_index(x.shape, [&](const Index& i) { number[at(i)] += 1; });
  for_each_index(x.shape, [&](const Index& i) { mean[at(i)] += x.at(i) / number[at(i)]; });
  for_each_index(x.shape, [&](const Index& i) { var[at(i)] += std::pow(x.at(i) - mean[at(i)], 2) / number[at(i)]; });
  return generate(x.shape, [&](const Index& i) { return (x.at(i) - mean[at(i)]) / std::sqrt(var[at(i)] + kEps); });
}

// Parameters of a bf16 input are f32.
Tensor parameter(const Tensor& x) { return x.dtype() == DType::bf16 ? x.to(DType::f32) : x; }

// Inputs x and, where there are more, weight and bias of one shape.
Tensor input_or_none(const std::vector<Tensor>& t, std::size_t i) { return t.size() > i ? parameter(t[i]) : Tensor(); }

Plain affine(const std::vector<Plain>& t, const Plain& normal, const std::function<Index(const Index&)>& where) {
  return generate(normal.shape, [&](const Index& i) {
    const double scaled = normal.at(i) * (t.size() > 1 ? t[1].at(where(i)) : 1);
    return scaled + (t.size() > 2 ? t[2].at(where(i)) : 0);
  });
}

// With no parameters, with a weight, or with both.
std::vector<Input> inputs_of(const Sizes& x, const Sizes& parameters, std::size_t count) {
  std::vector<Input> inputs{{x}};
  if (count > 0) inputs.push_back({parameters, Values::nonzero});
  if (count > 1) inputs.push_back({parameters});
  return inputs;
}

const char* const kParameters[] = {"no parameters", "weight", "weight and bias"};

Plain grouped_reference(const std::vector<Plain>& t, std::int64_t groups) {
  const std::int64_t size = groups == 0 ? 1 : t[0].shape[1] / groups;
  const Plain normal =
      standardised(t[0], t[0].shape[0] * groups, [&](const Index& i) { return i[0] * groups + i[1] / size; });
  return affine(t, normal, [](const Index& i) { return Index{i[1]}; });
}

OpCase group_case(const Sizes& shape, std::int64_t groups, std::size_t parameters) {
  OpCase row{.op = "group_norm",
             .what = std::to_string(groups) + " groups, " + kParameters[parameters],
             .inputs = inputs_of(shape, {shape[1]}, parameters)};
  row.run = [groups](const std::vector<Tensor>& t) {
    return group_norm(t[0], groups, input_or_none(t, 1), input_or_none(t, 2), kEps);
  };
  row.reference = [groups](const std::vector<Plain>& t) { return grouped_reference(t, groups); };
  return row;
}

OpCase instance_case(const Sizes& shape, std::size_t parameters) {
  OpCase row{
      .op = "instance_norm", .what = kParameters[parameters], .inputs = inputs_of(shape, {shape[1]}, parameters)};
  row.run = [](const std::vector<Tensor>& t) {
    return instance_norm(t[0], input_or_none(t, 1), input_or_none(t, 2), kEps);
  };
  row.reference = [](const std::vector<Plain>& t) { return grouped_reference(t, t[0].shape[1]); };
  return row;
}

OpCase layer_case(const Sizes& shape, std::size_t axes, std::size_t parameters) {
  const Sizes last(shape.end() - static_cast<std::ptrdiff_t>(axes), shape.end());
  OpCase row{.op = "layer_norm",
             .what = std::to_string(axes) + " axes, " + kParameters[parameters],
             .inputs = inputs_of(shape, last, parameters)};
  row.run = [last](const std::vector<Tensor>& t) {
    return layer_norm(t[0], to_shape(last), input_or_none(t, 1), input_or_none(t, 2), kEps);
  };
  row.reference = [axes](const std::vector<Plain>& t) {
    const std::size_t first = t[0].shape.size() - axes;
    std::int64_t rows = 1;
    for (std::size_t i = 0; i < first; ++i) rows *= t[0].shape[i];
    const Plain normal = standardised(t[0], rows, [&](const Index& i) {
      std::int64_t line = 0;
      for (std::size_t k = 0; k < first; ++k) line = line * t[0].shape[k] + i[k];
      return line;
    });
    return affine(t, normal,
                  [&](const Index& i) { return Index(i.begin() + static_cast<std::ptrdiff_t>(first), i.end()); });
  };
  return row;
}

}  // namespace

std::vector<OpCase> group_norm_cases() {
  std::vector<OpCase> rows;
  const std::pair<Sizes, std::int64_t> grouped[] = {
      {{2, 6, 3, 2}, 1}, {{2, 6, 3, 2}, 2}, {{2, 6, 3, 2}, 6}, {{3, 4}, 2},       {{2, 4, 5}, 4},
      {{4, 4, 4, 4}, 2}, {{2, 1, 3, 3}, 1}, {{1, 2, 1, 1}, 1}, {{2, 2, 1, 1}, 2}, {{2, 4, 2, 1, 3}, 2},
      {{0, 4, 2, 2}, 2}, {{2, 0, 3, 3}, 3}, {{2, 4, 0, 3}, 2}};
  for (const auto& [shape, groups] : grouped) {
    for (std::size_t parameters : {0, 1, 2}) rows.push_back(group_case(shape, groups, parameters));
  }
  for (const Sizes& shape : {Sizes{2, 3, 7}, Sizes{2, 3, 2, 4}, Sizes{3, 3, 3, 3}, Sizes{2, 1, 3, 3}, Sizes{1, 1, 1, 2},
                             Sizes{2, 2, 3, 1, 2}, Sizes{0, 3, 2, 2}, Sizes{2, 0, 3, 3}, Sizes{2, 3, 0}}) {
    for (std::size_t parameters : {0, 1, 2}) rows.push_back(instance_case(shape, parameters));
  }
  const std::pair<Sizes, std::size_t> layers[] = {
      {{3, 7}, 1}, {{7}, 1}, {{2, 3, 4}, 1},    {{2, 3, 4}, 2}, {{2, 3, 4}, 3}, {{4, 4, 4, 4}, 3}, {{4, 4, 4, 4}, 1},
      {{3, 1}, 1}, {{1}, 1}, {{2, 1, 3, 3}, 2}, {{0, 3}, 1},    {{3, 0}, 1},    {{2, 0, 3}, 2}};
  for (const auto& [shape, axes] : layers) {
    for (std::size_t parameters : {0, 1, 2}) rows.push_back(layer_case(shape, axes, parameters));
  }
  return rows;
}

}  // namespace weft::cases
