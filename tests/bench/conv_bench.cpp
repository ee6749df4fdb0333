// Times cpu::conv on the convolutions of both models; one JSON object per layer and pass on stdout. GFLOP/s count the
// products with padding too, as other benchmarks do.
//
//   conv_bench [needle|page] [batch] [seconds per figure] [threads]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "cpu/conv.h"
#include "cpu/threads.h"

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

std::vector<float> random_values(std::int64_t size) {
  static std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<std::size_t>(size));
  for (float& value : values) value = uniform(random);
  return values;
}

View view(std::vector<float>& values) {
  return {values.data(), Shape{static_cast<std::int64_t>(values.size())}, Strides{1}, DType::f32};
}

/// Median seconds of one step over at least `seconds` of them, in blocks of about 10 ms.
template <class F>
double median_seconds(double seconds, F step) {
  using Clock = std::chrono::steady_clock;
  const auto timed = [&](int count) {
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) step();
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

}  // namespace

int main(int argc, char** argv) {
  const char* model = argc > 1 ? argv[1] : "needle";
  const bool page = std::strcmp(model, "page") == 0;
  const std::int64_t batch = argc > 2 ? std::atoll(argv[2]) : page ? 64 : 128;
  const double seconds = argc > 3 ? std::atof(argv[3]) : 0.3;
  if (argc > 4) cpu::set_thread_count(std::atoi(argv[4]));
  for (const Layer& layer : page ? kPage : kNeedle) {
    const ConvShape shape = conv_shape(layer, batch);
    auto x = random_values(shape.n * shape.in[1] * shape.in[2] * shape.c);
    auto weight = random_values(shape.k * shape.filter[1] * shape.filter[2] * shape.c);
    auto y = random_values(shape.n * shape.out[1] * shape.out[2] * shape.k);
    auto x_grad = x, weight_grad = weight;
    const double flop = 2.0 * static_cast<double>(y.size() * weight.size()) / static_cast<double>(shape.k);
    const auto report = [&](const char* pass, auto step) {
      const double time = median_seconds(seconds, step);
      std::printf(
          "{\"what\": \"conv\", \"model\": \"%s\", \"layer\": \"%s\", \"batch\": %lld, \"pass\": \"%s\", "
          "\"threads\": %d, \"ms\": %.5f, \"gflops\": %.1f}\n",
          model, layer.name, static_cast<long long>(batch), pass, cpu::thread_count(), time * 1e3, flop / time / 1e9);
      std::fflush(stdout);
    };
    report("forward", [&] { cpu::conv(ConvPass::forward, shape, view(x), view(weight), nullptr, view(y)); });
    report("input_grad", [&] { cpu::conv(ConvPass::input_grad, shape, view(y), view(weight), nullptr, view(x_grad)); });
    report("weight_grad",
           [&] { cpu::conv(ConvPass::weight_grad, shape, view(y), view(x), nullptr, view(weight_grad)); });
  }
}
