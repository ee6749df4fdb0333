#include "tests/op_cases.h"

namespace weft::cases {

namespace {

/// The windows of an image as `rows` of im2col, or as unfold has them.
struct WindowRow {
  std::string what;
  Sizes x, kernel;
  WindowOptions options = {};

  std::size_t axes() const { return x.size() - 2; }
  static std::int64_t of(const Dims& values, std::size_t axis) {
    return values[values.rank() == 1 ? 0 : static_cast<int>(axis)];
  }
  Sizes positions() const {
    Sizes result;
    for (std::size_t i = 0; i < axes(); ++i)
      result.push_back((x[i + 2] + 2 * of(options.padding, i) - of(options.dilation, i) * (kernel[i] - 1) - 1) /
                           of(options.stride, i) +
                       1);
    return result;
  }
  Sizes rows() const { return {x[0] * count(positions()), x[1] * count(kernel)}; }
  Sizes unfolded() const { return {x[0], x[1] * count(kernel), count(positions())}; }
};

/// f(element of x, row, column) for all that is not padding.
template <class F>
void for_each_window(const WindowRow& w, ColumnOrder order, const F& f) {
  Sizes sizes = w.positions();
  sizes.insert(sizes.begin(), w.x[0]);
  const std::int64_t places = count(w.kernel);
  std::int64_t row = -1;
  for_each_index(sizes, [&](const Index& at) {
    ++row;
    for (std::int64_t c = 0; c < w.x[1]; ++c) {
      std::int64_t place = -1;
      for_each_index(w.kernel, [&](const Index& r) {
        ++place;
        std::int64_t element = at[0] * w.x[1] + c;
        for (std::size_t i = 0; i < w.axes(); ++i) {
          const std::int64_t position = at[i + 1] * WindowRow::of(w.options.stride, i) +
                                        r[i] * WindowRow::of(w.options.dilation, i) -
                                        WindowRow::of(w.options.padding, i);
          if (position < 0 || position >= w.x[i + 2]) return;
          element = element * w.x[i + 2] + position;
        }
        f(static_cast<std::size_t>(element), row, order == ColumnOrder::crs ? c * places + place : place * w.x[1] + c);
      });
    }
  });
}

Plain zeros_of(const Sizes& shape) { return {shape, std::vector<double>(static_cast<std::size_t>(count(shape)))}; }

OpCase window_case(const char* op, const WindowRow& w, std::string what, const Sizes& input,
                   std::function<Tensor(const Tensor&)> run, std::function<Plain(const Plain&)> reference) {
  OpCase row{.op = op, .what = w.what + std::move(what), .inputs = {{input}}};
  row.run = [run = std::move(run)](const std::vector<Tensor>& t) { return run(t[0]); };
  row.reference = [reference = std::move(reference)](const std::vector<Plain>& t) { return reference(t[0]); };
  return row;
}

void add_windows(std::vector<OpCase>& rows, const WindowRow& w) {
  for (const ColumnOrder order : {ColumnOrder::crs, ColumnOrder::rsc}) {
    const char* name = order == ColumnOrder::crs ? ", crs" : ", rsc";
    const auto at = [w](std::int64_t row, std::int64_t column) {
      return static_cast<std::size_t>(row * w.rows()[1] + column);
    };
    rows.push_back(window_case(
        "im2col", w, name, w.x, [=](const Tensor& x) { return im2col(x, to_shape(w.kernel), w.options, order); },
        [=](const Plain& x) {
          Plain y = zeros_of(w.rows());
          for_each_window(w, order, [&](std::size_t i, std::int64_t row, std::int64_t column) {
            y.values[at(row, column)] = x.values[i];
          });
          return y;
        }));
    rows.back().exact = true;
    rows.push_back(window_case(
        "col2im", w, name, w.rows(),
        [=](const Tensor& y) { return col2im(y, to_shape(w.x), to_shape(w.kernel), w.options, order); },
        [=](const Plain& y) {
          Plain x = zeros_of(w.x);
          for_each_window(w, order, [&](std::size_t i, std::int64_t row, std::int64_t column) {
            x.values[i] += y.values[at(row, column)];
          });
          return x;
        }));
  }
  const auto at = [w](std::int64_t row, std::int64_t column) {
    const std::int64_t places = count(w.positions());
    return static_cast<std::size_t>((row / places * w.rows()[1] + column) * places + row % places);
  };
  rows.push_back(window_case(
      "unfold", w, "", w.x, [=](const Tensor& x) { return unfold(x, to_shape(w.kernel), w.options); },
      [=](const Plain& x) {
        Plain y = zeros_of(w.unfolded());
        for_each_window(w, ColumnOrder::crs, [&](std::size_t i, std::int64_t row, std::int64_t column) {
          y.values[at(row, column)] = x.values[i];
        });
        return y;
      }));
  rows.back().exact = true;
  rows.push_back(window_case(
      "fold", w, "", w.unfolded(),
      [=](const Tensor& y) {
        return fold(y, to_shape(Sizes(w.x.begin() + 2, w.x.end())), to_shape(w.kernel), w.options);
      },
      [=](const Plain& y) {
        Plain x = zeros_of(w.x);
        for_each_window(w, ColumnOrder::crs, [&](std::size_t i, std::int64_t row, std::int64_t column) {
          x.values[i] += y.values[at(row, column)];
        });
        return x;
      }));
}

}  // namespace

std::vector<OpCase> im2col_cases() {
  std::vector<OpCase> rows;
  const WindowRow windows[] = {
      {"length", {2, 3, 6}, {3}},
      {"length, remainder", {2, 2, 8}, {2}, {.stride = {3}, .padding = {1}}},
      {"plane", {2, 2, 4, 3}, {2, 3}},
      {"plane, everything", {1, 2, 4, 5}, {3, 2}, {.stride = {1, 3}, .padding = {2, 1}, .dilation = {2, 1}}},
      {"stride beyond the window", {1, 2, 5, 4}, {2, 1}, {.stride = {3}}},
      {"1x1 window", {2, 2, 3, 2}, {1, 1}},
      {"1x1 map, padded beyond the window", {1, 3, 1, 1}, {2, 2}, {.padding = {2}}},
      {"C == H == W == R", {2, 2, 2, 2}, {2, 2}, {.padding = {1}}},
      {"no image", {0, 2, 3, 3}, {2, 2}},
      {"volume", {1, 2, 3, 2, 3}, {2, 2, 2}, {.stride = {2, 1, 1}, .padding = {1, 0, 1}, .dilation = {1, 1, 2}}},
  };
  for (const WindowRow& row : windows) add_windows(rows, row);
  return rows;
}

}  // namespace weft::cases
