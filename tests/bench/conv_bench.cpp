// Times the convolution passes of both models' layers on random normal data; one JSON object per layer and pass on
// stdout. GFLOP/s count the products with padding too, as other benchmarks do.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cpu/threads.h"
#include "weft/weft.h"

namespace {

using namespace weft;

struct Layer {
  const char* name;
  std::int64_t c, size, k, filter, stride, padding;
};

const std::vector<Layer> kNeedle = {{"conv1", 3, 32, 16, 7, 4, 3},  {"conv2", 16, 8, 32, 3, 2, 1},
                                    {"res1", 32, 4, 32, 3, 1, 1},   {"conv3", 32, 4, 64, 3, 2, 1},
                                    {"conv4", 64, 2, 128, 3, 2, 1}, {"res2", 128, 1, 128, 3, 1, 1}};
const std::vector<Layer> kPage = {{"prep", 3, 32, 64, 3, 1, 1},     {"layer1", 64, 32, 128, 3, 1, 1},
                                  {"res1", 128, 16, 128, 3, 1, 1},  {"layer2", 128, 16, 256, 3, 1, 1},
                                  {"layer3", 256, 8, 512, 3, 1, 1}, {"res3", 512, 4, 512, 3, 1, 1}};

ConvShape conv_shape(const Layer& layer, std::int64_t batch) {
  ConvShape shape;
  shape.n = batch;
  shape.c = layer.c;
  shape.k = layer.k;
  for (std::size_t d = 1; d < 3; ++d) {
    shape.in[d] = layer.size;
    shape.filter[d] = layer.filter;
    shape.stride[d] = layer.stride;
    shape.padding[d] = layer.padding;
    shape.out[d] = (layer.size + 2 * layer.padding - layer.filter) / layer.stride + 1;
  }
  return shape;
}

Array random_array(const Shape& shape, DType dtype, const Device& device) {
  return randn(shape, {.device = device}).to(dtype).array();
}

/// Median seconds of one step over at least `seconds` of them, in blocks of about 10 ms.
template <class F>
double median_seconds(Backend& device, double seconds, F step) {
  using Clock = std::chrono::steady_clock;
  const auto timed = [&](int count) {
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) step();
    device.synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count() / count;
  };
  timed(3);
  const int block = std::max(1, static_cast<int>(0.01 / timed(1)));
  std::vector<double> times;
  for (double total = 0; total < seconds || times.size() < 5; total += times.back() * block) {
    times.push_back(timed(block));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

struct Options {
  std::string model = "needle", device = "cpu", precision = "fp32";
  std::int64_t batch = 0;
  double seconds = 0.3;
  int threads = 0;
};

void measure(const Options& options, const Layer& layer) {
  const Device where = Device::parse(options.device);
  Backend& device = backend(where);
  const DType dtype = options.precision == "bf16" ? DType::bf16 : DType::f32;
  const PrecisionGuard guard(options.precision == "tf32" ? Precision::tf32 : Precision::fp32);
  const ConvShape shape = conv_shape(layer, options.batch);
  const Array x = random_array({shape.n, shape.in[1], shape.in[2], shape.c}, dtype, where);
  const Array weight = random_array({shape.k, shape.filter[1], shape.filter[2], shape.c}, dtype, where);
  const Array y = random_array({shape.n, shape.out[1], shape.out[2], shape.k}, dtype, where);
  const Array x_grad = x.clone(), weight_grad = weight.clone();
  const double flop = 2.0 * static_cast<double>(y.size()) * static_cast<double>(weight.size() / shape.k);
  const auto report = [&](const char* pass, auto step) {
    const double time = median_seconds(device, options.seconds, step);
    std::printf(
        "{\"what\": \"conv\", \"model\": \"%s\", \"layer\": \"%s\", \"batch\": %lld, \"pass\": \"%s\", "
        "\"device\": \"%s\", \"precision\": \"%s\", \"threads\": %d, \"ms\": %.5f, \"gflops\": %.1f}\n",
        options.model.c_str(), layer.name, static_cast<long long>(options.batch), pass, options.device.c_str(),
        options.precision.c_str(), cpu::thread_count(), time * 1e3, flop / time / 1e9);
    std::fflush(stdout);
  };
  const auto run = [&](ConvPass pass, const Array& a, const Array& b, const Array& out) {
    device.conv(pass, shape, const_view(a), const_view(b), nullptr, mutable_view(out));
  };
  report("forward", [&] { run(ConvPass::forward, x, weight, y); });
  report("input_grad", [&] { run(ConvPass::input_grad, y, weight, x_grad); });
  report("weight_grad", [&] { run(ConvPass::weight_grad, y, x, weight_grad); });
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times the convolutions of a model, GFLOP/s by layer and pass.");
  app.add_option("--model", options.model)->check(CLI::IsMember({"needle", "page"}));
  app.add_option("--device", options.device, "cpu, cuda or cuda:N");
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
  app.add_option("--batch", options.batch, "default: 128 for needle, 64 for page");
  app.add_option("--seconds", options.seconds, "per figure");
  app.add_option("--threads", options.threads, "of the CPU");
  CLI11_PARSE(app, argc, argv);
  try {
    const bool page = options.model == "page";
    if (options.batch == 0) options.batch = page ? 64 : 128;
    if (options.threads > 0) cpu::set_thread_count(options.threads);
    for (const Layer& layer : page ? kPage : kNeedle) measure(options, layer);
  } catch (const Error& error) {
    std::fprintf(stderr, "conv_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
