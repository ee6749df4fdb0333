#include <array>

#include "tests/op_cases.h"
#include "tests/spatial.h"

namespace weft::cases {

namespace {

/// A convolution of `axes` spatial axes in loops over three: those that are absent come first and have size 1.
struct Family {
  std::string what;
  int axes = 2;
  std::int64_t n = 1, c = 1, k = 1;  ///< images, channels in, channels out
  Triple in{1, 1, 1}, kernel{1, 1, 1};
  Triple stride{1, 1, 1}, before{}, after{}, dilation{1, 1, 1}, output_padding{};
  std::int64_t groups = 1;
  PadMode mode = PadMode::constant;
  bool same = false;  ///< asks for PaddingRule::same; before and after say what that is
  bool bias = false;

  Sizes join(std::int64_t first, std::int64_t second, const Triple& spatial) const {
    Sizes sizes{first, second};
    sizes.insert(sizes.end(), spatial.end() - axes, spatial.end());
    return sizes;
  }
  Triple out() const {
    Triple result;
    for (std::size_t d = 0; d < 3; ++d)
      result[d] = (in[d] + before[d] + after[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
    return result;
  }
  Triple transposed_out() const {
    Triple result;
    for (std::size_t d = 0; d < 3; ++d)
      result[d] =
          (in[d] - 1) * stride[d] - before[d] - after[d] + dilation[d] * (kernel[d] - 1) + output_padding[d] + 1;
    return result;
  }
};

/// One spatial axis.
Family line(std::string what, std::int64_t n, std::int64_t c, std::int64_t l, std::int64_t k, std::int64_t r) {
  return {.what = std::move(what), .axes = 1, .n = n, .c = c, .k = k, .in = {1, 1, l}, .kernel = {1, 1, r}};
}
Family plane(std::string what, std::int64_t n, std::int64_t c, std::array<std::int64_t, 2> in, std::int64_t k,
             std::array<std::int64_t, 2> kernel) {
  return {.what = std::move(what),
          .axes = 2,
          .n = n,
          .c = c,
          .k = k,
          .in = {1, in[0], in[1]},
          .kernel = {1, kernel[0], kernel[1]}};
}
Family volume(std::string what, std::int64_t n, std::int64_t c, Triple in, std::int64_t k, Triple kernel) {
  return {.what = std::move(what), .axes = 3, .n = n, .c = c, .k = k, .in = in, .kernel = kernel};
}

/// Where the position of an axis of that size lies in the padded input; -1 for zeros.
std::int64_t source(std::int64_t at, std::int64_t size, PadMode mode) {
  if (at >= 0 && at < size) return at;
  switch (mode) {
    case PadMode::constant:
      return -1;
    case PadMode::reflect:
      return at < 0 ? -at : 2 * (size - 1) - at;
    case PadMode::replicate:
      return at < 0 ? 0 : size - 1;
    case PadMode::circular:
      return at < 0 ? at + size : at - size;
  }
  return -1;
}

Plain forward(const Family& f, const std::vector<Plain>& t) {
  const Triple out = f.out();
  const std::int64_t group_c = f.c / f.groups, group_k = f.k / f.groups;
  Plain y{f.join(f.n, f.k, out), {}};
  for (std::int64_t n = 0; n < f.n; ++n)
    for (std::int64_t k = 0; k < f.k; ++k)
      for_each(out, [&](const Triple& o) {
        double sum = f.bias ? t[2].values[static_cast<std::size_t>(k)] : 0;
        for (std::int64_t c = 0; c < group_c; ++c)
          for_each(f.kernel, [&](const Triple& r) {
            Triple at;
            for (std::size_t d = 0; d < 3; ++d) {
              at[d] = source(o[d] * f.stride[d] + r[d] * f.dilation[d] - f.before[d], f.in[d], f.mode);
              if (at[d] < 0) return;
            }
            const auto image = static_cast<std::size_t>(n * f.c + k / group_k * group_c + c);
            const auto filter = static_cast<std::size_t>(k * group_c + c);
            sum += t[0].values[image * volume_of(f.in) + flat(f.in, at)] *
                   t[1].values[filter * volume_of(f.kernel) + flat(f.kernel, r)];
          });
        y.values.push_back(sum);
      });
  return y;
}

/// Each element of x adds its multiples of the kernel to the result.
Plain transposed(const Family& f, const std::vector<Plain>& t) {
  const Triple out = f.transposed_out();
  const std::int64_t group_c = f.c / f.groups, group_k = f.k / f.groups;
  const Sizes shape = f.join(f.n, f.k, out);
  Plain y{shape, std::vector<double>(static_cast<std::size_t>(count(shape)))};
  for (std::size_t i = 0; f.bias && i < y.values.size(); ++i)
    y.values[i] = t[2].values[i / volume_of(out) % static_cast<std::size_t>(f.k)];
  for (std::int64_t n = 0; n < f.n; ++n)
    for (std::int64_t c = 0; c < f.c; ++c)
      for (std::int64_t k = 0; k < group_k; ++k)
        for_each(f.in, [&](const Triple& i) {
          for_each(f.kernel, [&](const Triple& r) {
            Triple at;
            for (std::size_t d = 0; d < 3; ++d) {
              at[d] = i[d] * f.stride[d] + r[d] * f.dilation[d] - f.before[d];
              if (at[d] < 0 || at[d] >= out[d]) return;
            }
            const auto image = static_cast<std::size_t>(n * f.c + c);
            const auto filter = static_cast<std::size_t>(c * group_k + k);
            const auto result = static_cast<std::size_t>(n * f.k + c / group_c * group_k + k);
            y.values[result * volume_of(out) + flat(out, at)] +=
                t[0].values[image * volume_of(f.in) + flat(f.in, i)] *
                t[1].values[filter * volume_of(f.kernel) + flat(f.kernel, r)];
          });
        });
  return y;
}

template <int N>
Padding<N> padding(const Family& f) {
  if (f.same) return PaddingRule::same;
  Padding<N> result = 0;
  result.before = last<N>(f.before);
  result.after = last<N>(f.after);
  return result;
}

template <int N>
ConvOptions<N> options(const Family& f) {
  return {last<N>(f.stride), padding<N>(f), last<N>(f.dilation), f.groups, f.mode};
}

template <int N>
ConvTransposeOptions<N> transposed_options(const Family& f) {
  return {last<N>(f.stride), padding<N>(f), last<N>(f.output_padding), f.groups, last<N>(f.dilation)};
}

OpCase conv_case(const Family& f) {
  OpCase row{.op = "conv" + std::to_string(f.axes) + "d", .what = f.what};
  row.inputs = {{f.join(f.n, f.c, f.in)}, {f.join(f.k, f.c / f.groups, f.kernel)}};
  if (f.bias) row.inputs.push_back({{f.k}});
  row.run = [f](const std::vector<Tensor>& t) {
    const Tensor bias = f.bias ? t[2] : Tensor();
    return f.axes == 1   ? conv1d(t[0], t[1], bias, options<1>(f))
           : f.axes == 2 ? conv2d(t[0], t[1], bias, options<2>(f))
                         : conv3d(t[0], t[1], bias, options<3>(f));
  };
  row.reference = [f](const std::vector<Plain>& t) { return forward(f, t); };
  return row;
}

OpCase transposed_case(const Family& f) {
  OpCase row{.op = "conv_transpose" + std::to_string(f.axes) + "d", .what = f.what};
  row.inputs = {{f.join(f.n, f.c, f.in)}, {f.join(f.c, f.k / f.groups, f.kernel)}};
  if (f.bias) row.inputs.push_back({{f.k}});
  row.run = [f](const std::vector<Tensor>& t) {
    const Tensor bias = f.bias ? t[2] : Tensor();
    return f.axes == 1   ? conv_transpose1d(t[0], t[1], bias, transposed_options<1>(f))
           : f.axes == 2 ? conv_transpose2d(t[0], t[1], bias, transposed_options<2>(f))
                         : conv_transpose3d(t[0], t[1], bias, transposed_options<3>(f));
  };
  row.reference = [f](const std::vector<Plain>& t) { return transposed(f, t); };
  return row;
}

/// A copy with some members changed.
template <class Change>
Family with(Family f, const Change& change) {
  change(f);
  return f;
}

void pad_by(Family& f, const Triple& both) { f.before = f.after = both; }

void add_convolutions(std::vector<OpCase>& rows) {
  const auto add = [&](Family f, const auto& change) { rows.push_back(conv_case(with(std::move(f), change))); };
  const auto plain = [](Family&) {};
  add(line("plain", 2, 3, 7, 4, 3), plain);
  add(line("bias", 2, 2, 5, 3, 2), [](Family& f) { f.bias = true; });
  add(line("one element", 3, 4, 1, 2, 1), [](Family& f) { f.bias = true; });
  add(line("C == L == R", 2, 3, 3, 3, 3), [](Family& f) { pad_by(f, {0, 0, 1}); });
  add(line("filter larger than the unpadded input", 2, 2, 2, 3, 5), [](Family& f) { pad_by(f, {0, 0, 2}); });
  add(line("stride beyond the filter, remainder", 2, 2, 11, 2, 2), [](Family& f) { f.stride = {1, 1, 4}; });
  add(line("stride 3, dilation 2, bias", 1, 2, 12, 3, 3), [](Family& f) {
    f.stride = {1, 1, 3};
    f.dilation = {1, 1, 2};
    pad_by(f, {0, 0, 2});
    f.bias = true;
  });
  add(line("padding (3, 0)", 2, 2, 4, 2, 3), [](Family& f) { f.before = {0, 0, 3}; });
  add(line("padding (0, 2), stride 2", 2, 2, 4, 2, 3), [](Family& f) {
    f.after = {0, 0, 2};
    f.stride = {1, 1, 2};
  });
  add(line("padding (4, 1), dilation 2", 1, 1, 3, 2, 2), [](Family& f) {
    f.before = {0, 0, 4};
    f.after = {0, 0, 1};
    f.dilation = {1, 1, 2};
  });
  add(line("groups 2, dilation 2", 2, 4, 7, 6, 3), [](Family& f) {
    f.groups = 2;
    f.dilation = {1, 1, 2};
    f.bias = true;
  });
  add(line("depthwise, multiplier 3", 2, 2, 6, 6, 3), [](Family& f) {
    f.groups = 2;
    pad_by(f, {0, 0, 1});
  });
  add(line("same, even filter", 2, 2, 5, 3, 4), [](Family& f) {
    f.same = true;
    f.before = {0, 0, 1};
    f.after = {0, 0, 2};
  });
  add(line("same, dilation 3", 1, 2, 4, 2, 2), [](Family& f) {
    f.same = true;
    f.dilation = {1, 1, 3};
    f.before = {0, 0, 1};
    f.after = {0, 0, 2};
  });
  add(line("no image", 0, 2, 4, 3, 3), [](Family& f) { f.bias = true; });
  add(line("no length, padded", 2, 2, 0, 3, 2), [](Family& f) { pad_by(f, {0, 0, 2}); });

  add(plane("padding ((1, 0), (0, 2))", 2, 2, {4, 3}, 3, {3, 2}), [](Family& f) {
    f.before = {0, 1, 0};
    f.after = {0, 0, 2};
    f.bias = true;
  });
  add(plane("padding ((0, 3), (2, 1)), stride (2, 3), dilation (1, 2)", 1, 2, {5, 6}, 2, {2, 3}), [](Family& f) {
    f.before = {0, 0, 2};
    f.after = {0, 3, 1};
    f.stride = {1, 2, 3};
    f.dilation = {1, 1, 2};
  });
  add(plane("same, 2x3", 2, 2, {3, 4}, 2, {2, 3}), [](Family& f) {
    f.same = true;
    f.before = {0, 0, 1};
    f.after = {0, 1, 1};
  });
  add(plane("groups 2, dilation (2, 1), padding ((2, 1), (0, 1))", 1, 4, {4, 4}, 2, {3, 2}), [](Family& f) {
    f.groups = 2;
    f.dilation = {1, 2, 1};
    f.before = {0, 2, 0};
    f.after = {0, 1, 1};
  });
  add(plane("depthwise, multiplier 2, stride 2, dilation 2", 1, 3, {6, 5}, 6, {2, 2}), [](Family& f) {
    f.groups = 3;
    f.stride = {1, 2, 2};
    f.dilation = {1, 2, 2};
    f.bias = true;
  });

  add(volume("plain", 2, 2, {3, 4, 2}, 3, {2, 3, 1}), plain);
  add(volume("everything", 1, 4, {4, 3, 4}, 4, {2, 2, 3}), [](Family& f) {
    f.stride = {2, 1, 3};
    f.before = {1, 0, 2};
    f.after = {0, 1, 2};
    f.dilation = {1, 2, 1};
    f.groups = 2;
    f.bias = true;
  });
  add(volume("1x1x1 map, padded", 2, 2, {1, 1, 1}, 2, {3, 2, 1}), [](Family& f) { pad_by(f, {1, 1, 0}); });
  add(volume("C == D == H == W", 1, 2, {2, 2, 2}, 2, {2, 2, 2}), [](Family& f) { pad_by(f, {1, 1, 1}); });
  add(volume("filter larger than the unpadded input", 1, 1, {1, 2, 2}, 2, {3, 3, 4}), [](Family& f) {
    pad_by(f, {1, 1, 1});
  });
  add(volume("stride beyond the filter, remainder", 1, 2, {5, 4, 6}, 2, {1, 2, 2}), [](Family& f) {
    f.stride = {3, 3, 4};
  });
  add(volume("depthwise, multiplier 2", 1, 2, {3, 2, 3}, 4, {2, 2, 2}), [](Family& f) { f.groups = 2; });
  add(volume("same, 2x3x1", 1, 1, {2, 3, 2}, 2, {2, 3, 1}), [](Family& f) {
    f.same = true;
    f.before = {0, 1, 0};
    f.after = {1, 1, 0};
  });
  add(volume("no image", 0, 2, {2, 3, 2}, 2, {2, 2, 2}), plain);
}

void add_padding_modes(std::vector<OpCase>& rows) {
  for (const auto& [mode, name] : {std::pair(PadMode::reflect, "reflect"), std::pair(PadMode::replicate, "replicate"),
                                   std::pair(PadMode::circular, "circular")}) {
    const auto add = [&, mode = mode, name = name](Family f, const auto& change) {
      f.mode = mode;
      f.what = std::string(name) + f.what;
      rows.push_back(conv_case(with(std::move(f), change)));
    };
    add(line(" by as much as fits", 2, 2, 4, 2, 3), [](Family& f) { pad_by(f, {0, 0, 3}); });
    add(line(" (2, 0), stride 2, dilation 2, bias", 1, 2, 5, 2, 2), [](Family& f) {
      f.before = {0, 0, 2};
      f.stride = {1, 1, 2};
      f.dilation = {1, 1, 2};
      f.bias = true;
    });
    add(line(" same", 1, 1, 4, 2, 4), [](Family& f) {
      f.same = true;
      f.before = {0, 0, 1};
      f.after = {0, 0, 2};
    });
    add(plane(" ((1, 2), (0, 1)), depthwise", 1, 2, {3, 2}, 4, {2, 2}), [](Family& f) {
      f.before = {0, 1, 0};
      f.after = {0, 2, 1};
      f.groups = 2;
    });
    add(volume(" 1", 1, 1, {2, 2, 3}, 2, {2, 2, 3}), [](Family& f) { pad_by(f, {1, 1, 1}); });
  }
}

void add_transposed(std::vector<OpCase>& rows) {
  const auto add = [&](Family f, const auto& change) { rows.push_back(transposed_case(with(std::move(f), change))); };
  const auto plain = [](Family&) {};
  add(line("plain", 2, 3, 4, 2, 3), plain);
  add(line("bias, one element", 3, 2, 1, 4, 2), [](Family& f) { f.bias = true; });
  add(line("stride 2, padding 1, output padding 1", 2, 2, 3, 3, 3), [](Family& f) {
    f.stride = {1, 1, 2};
    pad_by(f, {0, 0, 1});
    f.output_padding = {0, 0, 1};
  });
  add(line("stride beyond the filter, output padding 3", 1, 2, 3, 2, 2), [](Family& f) {
    f.stride = {1, 1, 4};
    f.output_padding = {0, 0, 3};
    f.bias = true;
  });
  add(line("output padding 2 below dilation 3, stride 1", 1, 2, 3, 2, 2), [](Family& f) {
    f.dilation = {1, 1, 3};
    f.output_padding = {0, 0, 2};
  });
  add(line("padding (3, 0) beyond the filter", 1, 2, 6, 2, 2), [](Family& f) { f.before = {0, 0, 3}; });
  add(line("padding (0, 2), stride 3, dilation 2", 1, 1, 3, 2, 3), [](Family& f) {
    f.after = {0, 0, 2};
    f.stride = {1, 1, 3};
    f.dilation = {1, 1, 2};
  });
  add(line("groups 2", 2, 4, 3, 6, 2), [](Family& f) {
    f.groups = 2;
    f.bias = true;
  });
  add(line("no image", 0, 2, 3, 2, 2), [](Family& f) { f.bias = true; });

  add(plane("C == H == W == K", 2, 3, {3, 3}, 3, {3, 3}), [](Family& f) { pad_by(f, {0, 1, 1}); });
  add(plane("1x1 filter, stride (2, 3)", 2, 2, {2, 3}, 3, {1, 1}), [](Family& f) {
    f.stride = {1, 2, 3};
    f.output_padding = {0, 1, 2};
    f.bias = true;
  });
  add(plane("everything", 1, 4, {3, 2}, 6, {2, 3}), [](Family& f) {
    f.stride = {1, 3, 2};
    f.before = {0, 1, 0};
    f.after = {0, 0, 2};
    f.output_padding = {0, 2, 1};
    f.dilation = {1, 2, 2};
    f.groups = 2;
    f.bias = true;
  });
  add(plane("depthwise, multiplier 2", 1, 2, {3, 4}, 4, {3, 2}), [](Family& f) {
    f.groups = 2;
    f.stride = {1, 2, 1};
  });
  add(plane("one channel, 1x1 map", 1, 1, {1, 1}, 1, {2, 3}), plain);

  add(volume("plain", 1, 2, {2, 3, 2}, 2, {2, 1, 3}), plain);
  add(volume("everything", 1, 2, {2, 2, 3}, 4, {2, 3, 2}), [](Family& f) {
    f.stride = {2, 1, 3};
    f.before = {0, 1, 2};
    f.after = {1, 0, 1};
    f.output_padding = {1, 0, 2};
    f.dilation = {1, 2, 1};
    f.groups = 2;
    f.bias = true;
  });
  add(volume("1x1x1 map", 2, 1, {1, 1, 1}, 2, {2, 2, 1}), plain);
}

}  // namespace

std::vector<OpCase> conv_family_cases() {
  std::vector<OpCase> rows;
  add_convolutions(rows);
  add_padding_modes(rows);
  add_transposed(rows);
  return rows;
}

}  // namespace weft::cases
