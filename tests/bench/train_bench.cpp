// Images/s of whole training steps (forward, cross entropy, backward, SGD with Nesterov momentum 0.9 and weight decay
// 5e-4) and of forward passes, on random normal images; one JSON object per line. A figure is the median over blocks of
// steps, after a warm-up. `train_bench device` measures the device itself.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/backend.h"
#include "cpu/threads.h"
#include "tests/bench/device_figures.h"
#include "tests/bench/parse_algo.h"
#include "weft/weft.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// How a figure is measured beside model and batch size.
struct Mode {
  weft::Device device;
  weft::Precision precision = weft::Precision::fp32;
  bool graph = false;
  weft::ConvAlgo algo = weft::ConvAlgo::automatic;
};

// Median seconds of step(), each sample a block of about 50 ms with the device idle before and after.
double median_seconds(const std::function<void()>& step, const weft::Device& device, double seconds) {
  weft::Backend& backend = weft::backend(device);
  for (int i = 0; i < 5; ++i) step();
  backend.synchronize();
  auto start = Clock::now();
  step();
  backend.synchronize();
  const int block = std::max(1, static_cast<int>(0.05 / std::max(seconds_since(start), 1e-6)));
  std::vector<double> samples;
  for (double total = 0; total < seconds || samples.size() < 5;) {
    start = Clock::now();
    for (int i = 0; i < block; ++i) step();
    backend.synchronize();
    samples.push_back(seconds_since(start) / block);
    total += samples.back() * block;
  }
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end());
  return samples[samples.size() / 2];
}

std::function<void()> model_step(const std::string& what, weft::nn::ResNet9 variant, std::int64_t batch,
                                 const Mode& mode) {
  weft::manual_seed(0);
  weft::nn::Sequential model = weft::nn::resnet9({.variant = variant, .conv_algo = mode.algo});
  model.to(mode.device);
  const weft::Tensor images =  // channels-last memory, as the loader gives it
      weft::randn({batch, 32, 32, 3}).to(mode.device).permute({0, 3, 1, 2});
  const weft::Tensor labels = weft::randint(0, 10, {batch}).to(mode.device);
  auto graph = std::make_shared<weft::StepGraph>(mode.device, mode.graph);
  const auto measured = [graph, precision = mode.precision](const std::function<void()>& step) {
    return [graph, precision, step] {
      const weft::PrecisionGuard guard(precision);
      graph->run(step);
    };
  };
  if (what == "infer") {
    model.eval();
    return measured([model, images]() mutable {
      const weft::NoGrad no_grad;
      model(images);
    });
  }
  auto optimizer = std::make_shared<weft::nn::SGD>(
      model.parameters(), weft::nn::SGDOptions{.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
  return measured([=]() mutable {
    optimizer->zero_grad();
    weft::cross_entropy(model(images), labels).backward();
    optimizer->step();
  });
}

void run(int argc, char** argv) {
  CLI::App app("Times weft's training steps and forward passes");
  std::string what = "train", device = "cpu", precision = "fp32", algo = "automatic";
  std::vector<std::string> models{"needle", "page"};
  std::vector<std::int64_t> batches{128};
  double seconds = 1;
  int threads = 0;
  bool graph = false, timing = false;
  app.add_option("what", what)->check(CLI::IsMember({"train", "infer", "device"}))->capture_default_str();
  app.add_option("--model", models)->delimiter(',')->check(CLI::IsMember({"needle", "page"}))->capture_default_str();
  app.add_option("--batch", batches)->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seconds", seconds, "timed seconds per figure")->capture_default_str();
  app.add_option("--threads", threads, "0: all allowed CPUs")->capture_default_str();
  app.add_option("--device", device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--precision", precision)->check(CLI::IsMember({"fp32", "tf32", "bf16"}))->capture_default_str();
  app.add_flag("--graph", graph, "run the step as one CUDA graph");
  app.add_option("--algo", algo, "of every convolution")
      ->check(CLI::IsMember({"automatic", "implicit_gemm", "im2col"}))
      ->capture_default_str();
  app.add_flag("--conv-timing", timing, "take the convolution algorithms that are fastest in a trial");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  if (threads > 0) weft::cpu::set_thread_count(threads);
  weft::set_conv_timing(timing);
  const Mode mode{weft::Device::parse(device),
                  precision == "fp32"   ? weft::Precision::fp32
                  : precision == "tf32" ? weft::Precision::tf32
                                        : weft::Precision::bf16,
                  graph, weft::parse_algo(algo)};

  if (what == "device") {
    std::cout << weft::device_figures(mode.device).dump() << std::endl;
    return;
  }
  for (const std::string& model : models) {
    const auto variant = model == "needle" ? weft::nn::ResNet9::needle : weft::nn::ResNet9::page;
    for (const std::int64_t batch : batches) {
      const double time = median_seconds(model_step(what, variant, batch, mode), mode.device, seconds);
      nlohmann::ordered_json row = {{"what", what},
                                    {"peer", "weft"},
                                    {"device", weft::to_string(mode.device)},
                                    {"model", model},
                                    {"batch", batch},
                                    {"threads", weft::cpu::thread_count()},
                                    {"ms_per_step", time * 1e3},
                                    {"images_per_s", static_cast<double>(batch) / time}};
      if (mode.device.is_cuda()) {
        row["mode"] =
            precision + (graph ? "-graph" : "") + (timing ? "-timed" : "") + (algo == "automatic" ? "" : "-" + algo);
        // Of the process so far: one model and batch size per process gives one figure's own.
        row["peak_mib"] = static_cast<double>(weft::memory_statistics(mode.device).peak) / 1048576;
      }
      std::cout << row.dump() << std::endl;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "train_bench: " << error.what() << std::endl;
    return 1;
  }
}
