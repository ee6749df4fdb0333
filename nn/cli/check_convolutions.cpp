#include "cli/check.h"

// Convolutions by each algorithm: cuda/implicit_*.cu, cuda/conv/conv.cu, cuda/conv/depthwise.cu, cuda/conv/winograd.cu
// and cuda/conv/conv_reference.cu.

namespace weft::cli::check {

namespace {

constexpr double kTf32 = 2e-3;

struct Sizes {
  const char* name;
  Shape x, weight;  ///< (N, C, H, W), (K, C/groups, R, S)
  Conv2dOptions options = {};
};

const std::vector<Sizes>& dense_sizes() {
  static const std::vector<Sizes> sizes = {
      {"3x3", {4, 16, 12, 12}, {24, 16, 3, 3}, {.padding = 1}},
      {"3x3 stride 2", {3, 8, 13, 11}, {16, 8, 3, 3}, {.stride = 2, .padding = 1}},
      {"7x7 stride 4 of 3 channels", {2, 3, 32, 32}, {16, 3, 7, 7}, {.stride = 4, .padding = 3}},
      {"2x3, uneven padding, dilation 2", {2, 5, 9, 10}, {6, 5, 2, 3}, {.padding = {{1, 0}, {2, 1}}, .dilation = 2}},
      {"1x1 stride 2", {3, 8, 9, 9}, {32, 8, 1, 1}, {.stride = 2}},
      {"many filters", {2, 72, 8, 8}, {136, 72, 3, 3}, {.padding = 1}},
  };
  return sizes;
}

Tensors convolution(const Sizes& sizes, ConvAlgo algo, DType dtype, const Device& device) {
  const Tensor x = draw_leaf(sizes.x, dtype, device, 60), weight = draw_leaf(sizes.weight, dtype, device, 61);
  const Tensor bias = draw_leaf({sizes.weight[0]}, dtype, device, 62);
  Conv2dOptions options = sizes.options;
  options.algo = algo;
  return with_gradients(conv2d(x, weight, bias, options), {x, weight, bias});
}

void add(Family& family, const Sizes& sizes, ConvAlgo algo, DType dtype, double bound) {
  family.cases.push_back(
      {std::string(sizes.name) + " " + std::string(name(dtype)), bound,
       [sizes, algo, dtype](const Device& device) { return convolution(sizes, algo, dtype, device); },
       only_gpu(dtype)});
}

void add_tf32(Family& family, const Sizes& sizes, ConvAlgo algo) {
  family.cases.push_back({std::string(sizes.name) + " tf32", kTf32,
                          [sizes, algo](const Device& device) {
                            const PrecisionGuard precise(Precision::tf32);
                            return convolution(sizes, algo, DType::f32, device);
                          },
                          true});
}

/// A step of bf16 training keeps weights in f32.
void add_mixed(Family& family, const Sizes& sizes, ConvAlgo algo) {
  family.cases.push_back({std::string(sizes.name) + " bf16 with f32 weights", bound_of(DType::bf16),
                          [sizes, algo](const Device& device) {
                            if (device.is_cpu()) return convolution(sizes, algo, DType::f32, device);
                            const PrecisionGuard precise(Precision::bf16);
                            return convolution(sizes, algo, DType::f32, device);
                          },
                          true});
}

Family dense_family(const char* name, ConvAlgo algo) {
  Family family{name, {}};
  for (const Sizes& sizes : dense_sizes()) {
    for (const DType dtype : kFloats) add(family, sizes, algo, dtype, bound_of(dtype));
    add_tf32(family, sizes, algo);
    add_mixed(family, sizes, algo);
  }
  return family;
}

Family implicit_family() {
  Family family = dense_family("implicit products", ConvAlgo::implicit_gemm);
  const Sizes grouped = {"groups", {2, 12, 9, 8}, {18, 4, 3, 3}, {.padding = 1, .groups = 3}};
  for (const DType dtype : kFloats) add(family, grouped, ConvAlgo::implicit_gemm, dtype, bound_of(dtype));
  family.cases.push_back({"three axes f32", bound_of(DType::f32), [](const Device& device) {
                            const Tensor x = draw_leaf({2, 4, 5, 6, 7}, DType::f32, device, 63);
                            const Tensor weight = draw_leaf({6, 4, 3, 2, 3}, DType::f32, device, 64);
                            const Conv3dOptions options{.stride = 2, .padding = 1, .algo = ConvAlgo::implicit_gemm};
                            return with_gradients(conv3d(x, weight, {}, options), {x, weight});
                          }});
  family.cases.push_back({"transposed f32", bound_of(DType::f32), [](const Device& device) {
                            const Tensor x = draw_leaf({2, 6, 7, 5}, DType::f32, device, 65);
                            const Tensor weight = draw_leaf({6, 4, 3, 3}, DType::f32, device, 66);
                            const ConvTranspose2dOptions options{.stride = 2, .padding = 1, .output_padding = 1};
                            return with_gradients(conv_transpose2d(x, weight, {}, options), {x, weight});
                          }});
  return family;
}

Family depthwise_family() {
  Family family{"depthwise convolutions", {}};
  const Sizes rows[] = {
      {"3x3", {3, 24, 11, 9}, {24, 1, 3, 3}, {.padding = 1, .groups = 24}},
      {"5x5 stride 2", {2, 16, 13, 12}, {32, 1, 5, 5}, {.stride = 2, .padding = 2, .groups = 16}},
  };
  for (const Sizes& sizes : rows) {
    for (const DType dtype : kFloats) add(family, sizes, ConvAlgo::direct, dtype, bound_of(dtype));
  }
  return family;
}

Family winograd_family() {
  Family family{"Winograd's algorithm", {}};
  const Sizes rows[] = {
      {"3x3", {3, 16, 12, 12}, {24, 16, 3, 3}, {.padding = 1}},
      {"3x3 of odd sizes", {2, 5, 9, 7}, {6, 5, 3, 3}, {.padding = {{1, 0}, {2, 1}}}},
  };
  for (const Sizes& sizes : rows) {
    add(family, sizes, ConvAlgo::winograd, DType::f32, 2e-5);
    add(family, sizes, ConvAlgo::winograd, DType::f64, 1e-12);
  }
  return family;
}

Family reference_family() {
  Family family{"convolutions by their definition", {}};
  const Sizes sizes = {"3x3 stride 2", {2, 6, 9, 8}, {8, 3, 3, 3}, {.stride = 2, .padding = 1, .groups = 2}};
  for (const DType dtype : kFloats) add(family, sizes, ConvAlgo::reference, dtype, bound_of(dtype));
  return family;
}

Family columns_family() {
  Family family{"windows as columns", {}};
  for (const DType dtype : kFloats) {
    family.cases.push_back({"im2col and unfold " + std::string(name(dtype)), kBits,
                            [dtype](const Device& device) {
                              const Tensor x = draw({2, 4, 9, 7}, dtype, device, 67);
                              const WindowOptions windows{.stride = {2, 1}, .padding = {1, 2}};
                              return Tensors{im2col(x, {3, 2}, windows), im2col(x, {3, 2}, windows, ColumnOrder::rsc),
                                             unfold(x, {3, 3}, windows)};
                            },
                            only_gpu(dtype)});
  }
  family.cases.push_back({"col2im f32", bound_of(DType::f32), [](const Device& device) {
                            const Tensor columns = draw_leaf({2 * 8 * 6, 4 * 4}, DType::f32, device, 68);
                            return with_gradients(col2im(columns, {2, 4, 9, 7}, {2, 2}), {columns});
                          }});
  return family;
}

}  // namespace

void add_convolutions(std::vector<Family>& families) {
  families.push_back(implicit_family());
  families.push_back(dense_family("im2col and cuBLASLt", ConvAlgo::im2col));
  families.push_back(depthwise_family());
  families.push_back(winograd_family());
  families.push_back(reference_family());
  families.push_back(columns_family());
}

}  // namespace weft::cli::check
