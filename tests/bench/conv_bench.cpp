// Times the convolution passes of both models' layers, and of depthwise and 1x1 ones, on random normal data; one JSON
// object per layer, pass and algorithm on stdout, with the layer's sizes along each of two axes. GFLOP/s count the
// products with padding too, as other benchmarks do.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/device/backend.h"
#include "core/device/conv_algo.h"
#include "core/value/views.h"
#include "cpu/runtime/threads.h"
#include "tests/bench/parse_algo.h"
#include "weft/weft.h"

namespace {

using namespace weft;

struct Layer {
  const char* name;
  std::int64_t c, size, k, filter, stride, padding, groups = 1;
};

const std::vector<Layer> kNarrow = {{"conv1", 3, 32, 16, 7, 4, 3},  {"conv2", 16, 8, 32, 3, 2, 1},
                                    {"res1", 32, 4, 32, 3, 1, 1},   {"conv3", 32, 4, 64, 3, 2, 1},
                                    {"conv4", 64, 2, 128, 3, 2, 1}, {"res2", 128, 1, 128, 3, 1, 1}};
const std::vector<Layer> kFull = {{"prep", 3, 32, 64, 3, 1, 1},     {"layer1", 64, 32, 128, 3, 1, 1},
                                  {"res1", 128, 16, 128, 3, 1, 1},  {"layer2", 128, 16, 256, 3, 1, 1},
                                  {"layer3", 256, 8, 512, 3, 1, 1}, {"res3", 512, 4, 512, 3, 1, 1}};
const std::vector<Layer> kDepthwise = {{"64@56", 64, 56, 64, 3, 1, 1, 64},      {"128@56", 128, 56, 128, 3, 1, 1, 128},
                                       {"256@56", 256, 56, 256, 3, 1, 1, 256},  {"512@56", 512, 56, 512, 3, 1, 1, 512},
                                       {"64@28", 64, 28, 64, 3, 1, 1, 64},      {"128@28", 128, 28, 128, 3, 1, 1, 128},
                                       {"256@28", 256, 28, 256, 3, 1, 1, 256},  {"512@28", 512, 28, 512, 3, 1, 1, 512},
                                       {"64@14", 64, 14, 64, 3, 1, 1, 64},      {"128@14", 128, 14, 128, 3, 1, 1, 128},
                                       {"256@14", 256, 14, 256, 3, 1, 1, 256},  {"512@14", 512, 14, 512, 3, 1, 1, 512},
                                       {"128@56/2", 128, 56, 128, 3, 2, 1, 128}};
const std::vector<Layer> kPointwise = {{"64-128@28", 64, 28, 128, 1, 1, 0}, {"256-512@14", 256, 14, 512, 1, 1, 0}};

ConvShape conv_shape(const Layer& layer, std::int64_t batch) {
  ConvShape shape;
  shape.n = batch;
  shape.c = layer.c;
  shape.k = layer.k;
  shape.groups = layer.groups;
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

struct Candidate {
  std::string algo;
  std::function<void()> run;
  int block = 1;
  std::vector<double> times = {};

  double median() {
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }
};

/// Times the candidates in turns, each at least `seconds` long, in blocks of about 10 ms.
void measure(const BackendHandle& device, double seconds, std::vector<Candidate>& candidates) {
  if (candidates.empty()) return;
  using Clock = std::chrono::steady_clock;
  const auto timed = [&](const Candidate& candidate, int count) {
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) candidate.run();
    device->synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count() / count;
  };
  for (Candidate& candidate : candidates) {
    timed(candidate, 3);
    candidate.block = std::max(1, static_cast<int>(0.01 / timed(candidate, 1)));
  }
  const double whole = seconds * static_cast<double>(candidates.size());
  for (double total = 0; total < whole || candidates[0].times.size() < 5;) {
    for (Candidate& candidate : candidates) {
      candidate.times.push_back(timed(candidate, candidate.block));
      total += candidate.times.back() * candidate.block;
    }
  }
}

struct Options {
  std::string model = "needle", device = "cpu", precision = "fp32", layer;
  std::vector<std::string> algos = {"automatic"};
  std::int64_t batch = 0;
  double seconds = 0.3;
  int threads = 0;
  bool list = false;
};

nlohmann::ordered_json sizes(const Options& options, const Layer& layer) {
  return {{"what", "conv"},         {"model", options.model},   {"layer", layer.name},   {"batch", options.batch},
          {"c", layer.c},           {"size", layer.size},       {"k", layer.k},          {"filter", layer.filter},
          {"stride", layer.stride}, {"padding", layer.padding}, {"groups", layer.groups}};
}

void measure(const Options& options, const Layer& layer) {
  const Device where = Device::parse(options.device);
  const BackendHandle device = backend(where);
  const DType dtype = options.precision == "bf16" ? DType::bf16 : DType::f32;
  const PrecisionGuard guard(options.precision == "tf32" ? Precision::tf32 : Precision::fp32);
  const ConvShape shape = conv_shape(layer, options.batch);
  const Array x = random_array({shape.n, shape.in[1], shape.in[2], shape.c}, dtype, where);
  const Array weight =
      random_array({shape.k, shape.filter[1], shape.filter[2], shape.c / shape.groups}, DType::f32, where);
  const Array y = random_array({shape.n, shape.out[1], shape.out[2], shape.k}, dtype, where);
  const Array x_grad = x.clone(), weight_grad = weight.clone();
  const double flop = 2.0 * static_cast<double>(y.size()) * static_cast<double>(weight.size() / shape.k);
  const auto report = [&](const char* pass, std::vector<Candidate> candidates) {
    measure(device, options.seconds, candidates);
    for (Candidate& candidate : candidates) {
      const double time = candidate.median();
      nlohmann::ordered_json row = sizes(options, layer);
      row["pass"] = pass;
      row["algo"] = candidate.algo;
      row["device"] = options.device;
      row["precision"] = options.precision;
      row["threads"] = cpu::thread_count();
      row["ms"] = std::round(time * 1e8) / 1e5;
      row["ms_min"] = std::round(candidate.times.front() * 1e8) / 1e5;  // median() sorted them
      row["ms_max"] = std::round(candidate.times.back() * 1e8) / 1e5;
      row["gflops"] = std::round(flop / time / 1e8) / 10;
      std::puts(row.dump().c_str());
    }
    std::fflush(stdout);
  };
  const auto candidates = [&](ConvPass pass, const Array& a, const Array& b, const Array& out) {
    std::vector<Candidate> result;
    for (const std::string& text : options.algos) {
      ConvShape pinned = shape;
      const auto run = [&device, pass, a, b, out](const ConvShape& s) {
        device->conv({.pass = pass,
                      .shape = s,
                      .precision = precision(),
                      .a = const_view(a),
                      .b = const_view(b),
                      .out = mutable_view(out)});
      };
      if (text == "copy") {  // the data of a depthwise forward pass, read and written once
        const Array& from = x.size() < y.size() ? x : y;
        const Array to = Array::empty_like(from.layout(), dtype, where);
        result.push_back({text, [&device, from, to] { device->copy(const_view(from), mutable_view(to)); }});
        continue;
      }
      pinned.algo = parse_algo(text);
      if (applies(pinned.algo, pinned, dtype)) result.push_back({text, [run, pinned] { run(pinned); }});
    }
    return result;
  };
  report("forward", candidates(ConvPass::forward, x, weight, y));
  report("input_grad", candidates(ConvPass::input_grad, y, weight, x_grad));
  report("weight_grad", candidates(ConvPass::weight_grad, y, x, weight_grad));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times the convolutions of a model, GFLOP/s by layer, pass and algorithm.");
  const std::map<std::string, const std::vector<Layer>*> models{
      {"needle", &kNarrow}, {"page", &kFull}, {"depthwise", &kDepthwise}, {"pointwise", &kPointwise}};
  app.add_option("--model", options.model)->check(CLI::IsMember({"needle", "page", "depthwise", "pointwise"}));
  app.add_option("--layer", options.layer, "only this one");
  app.add_option("--algo", options.algos,
                 "automatic, reference, im2col, direct, winograd, implicit_gemm: those that apply, in turns; copy")
      ->delimiter(',');
  app.add_option("--device", options.device, "cpu, cuda or cuda:N");
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
  app.add_option("--batch", options.batch, "default: 128 for needle, 64 for page, 16 for the others");
  app.add_option("--seconds", options.seconds, "per figure");
  app.add_option("--threads", options.threads, "of the CPU");
  app.add_flag("--list", options.list, "the layers' sizes alone, a row each; nothing is timed");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.batch == 0) options.batch = options.model == "needle" ? 128 : options.model == "page" ? 64 : 16;
    if (options.threads > 0) cpu::set_thread_count(options.threads);
    for (const Layer& layer : *models.at(options.model)) {
      if (!options.layer.empty() && options.layer != layer.name) continue;
      if (options.list) {
        std::puts(sizes(options, layer).dump().c_str());
      } else {
        measure(options, layer);
      }
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "conv_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
