// Images/s of whole training steps (forward, cross entropy, backward, SGD with Nesterov momentum 0.9 and weight decay
// 5e-4) and of forward passes, on random normal images; one JSON object per line. A figure is the median over blocks of
// steps, after a warm-up, and with --runs the median of such medians beside the slowest and the fastest. On a GPU a row
// also has the host's time of a step, which is that of a replay with --graph, the nodes of the graph, and between which
// seconds since 1970 it was measured. `train_bench device` measures the device itself.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/device/backend.h"
#include "cpu/runtime/threads.h"
#include "tests/bench/composed.h"
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
  bool composed = false;  // every convolution by weft::composed
};

// Seconds.
struct Timed {
  double first = 0;                        // the first step, with the wait for its end
  double median = 0, least = 0, most = 0;  // the later steps: over the medians of the runs
  double host = 0;                         // until a step is enqueued on the idle device, the median
  double from = 0, until = 0;              // begin and end of the runs, since 1970
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// With `steps` above 0 a sample is one step that is waited for, and three steps come before the samples. With 0 a
// sample is a block of about 50 ms, before and after which the device is idle, and the samples of a run take `seconds`.
Timed time_steps(const std::function<void()>& step, const weft::Device& device, double seconds, int steps, int runs) {
  const weft::BackendHandle backend = weft::backend(device);
  const auto seconds_of = [&](int count) {
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) step();
    backend->synchronize();
    return seconds_since(start);
  };
  Timed timed;
  timed.first = seconds_of(1);
  seconds_of(steps > 0 ? 2 : 4);
  const int block = steps > 0 ? 1 : std::max(1, static_cast<int>(0.05 / std::max(seconds_of(1), 1e-6)));
  std::vector<double> medians, host;
  timed.from = now();
  for (int run = 0; run < runs; ++run) {
    std::vector<double> samples;
    double total = 0;
    const auto enough = [&] {
      const auto count = static_cast<int>(samples.size());
      return steps > 0 ? count >= steps : total >= seconds && count >= 5;
    };
    while (!enough()) {
      samples.push_back(seconds_of(block) / block);
      total += samples.back() * block;
    }
    medians.push_back(median(samples));
  }
  timed.until = now();
  timed.median = median(medians);
  timed.least = *std::min_element(medians.begin(), medians.end());
  timed.most = *std::max_element(medians.begin(), medians.end());
  for (int i = 0; device.is_cuda() && i < 9; ++i) {
    const auto start = Clock::now();
    step();
    host.push_back(seconds_since(start));
    backend->synchronize();
  }
  if (!host.empty()) timed.host = median(host);
  return timed;
}

struct Measured {
  std::function<void()> step;
  std::shared_ptr<weft::StepGraph> graph;
};

Measured model_step(const std::string& what, weft::nn::ResNet9 variant, std::int64_t batch, const Mode& mode) {
  weft::manual_seed(0);
  weft::nn::Sequential model =
      mode.composed ? weft::composed_resnet9(variant) : weft::nn::resnet9({.variant = variant, .conv_algo = mode.algo});
  model.to(mode.device);
  const weft::Tensor images =  // channels-last memory, as the loader gives it
      weft::randn({batch, 32, 32, 3}).to(mode.device).permute({0, 3, 1, 2});
  const weft::Tensor labels = weft::randint(0, 10, {batch}).to(mode.device);
  auto graph = std::make_shared<weft::StepGraph>(mode.device, mode.graph);
  const auto measured = [graph, precision = mode.precision](const std::function<void()>& step) {
    const auto run = [graph, precision, step] {
      const weft::PrecisionGuard guard(precision);
      graph->run(step);
    };
    return Measured{run, graph};
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

struct Options {
  std::string what = "train", device = "cpu";
  std::vector<std::string> models{"needle", "page"}, precisions{"fp32"}, algos{"automatic"};
  std::vector<std::int64_t> batches{128};
  double seconds = 1;
  int steps = 0, runs = 1, threads = 0;
  bool graph = false, timing = false;
};

Options parse(int argc, char** argv) {
  CLI::App app("Times weft's training steps and forward passes");
  Options o;
  const auto listed = [&](const char* name, std::vector<std::string>& values, std::set<std::string> allowed) {
    return app.add_option(name, values)
        ->delimiter(',')
        ->check(CLI::IsMember(std::move(allowed)))
        ->capture_default_str();
  };
  app.add_option("what", o.what)->check(CLI::IsMember({"train", "infer", "device"}))->capture_default_str();
  listed("--model", o.models, {"needle", "page"});
  app.add_option("--batch", o.batches)->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seconds", o.seconds, "timed seconds per figure")->capture_default_str();
  app.add_option("--steps", o.steps, "timed steps per figure, instead of seconds")->check(CLI::PositiveNumber);
  app.add_option("--runs", o.runs, "runs per figure, each of --seconds or --steps")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", o.threads, "0: all allowed CPUs")->capture_default_str();
  app.add_option("--device", o.device, "cpu, cuda or cuda:N")->capture_default_str();
  listed("--precision", o.precisions, {"fp32", "tf32", "bf16"});
  app.add_flag("--graph", o.graph, "run the step as one CUDA graph");
  listed("--algo", o.algos, {"automatic", "implicit_gemm", "im2col", "composed"})
      ->description("of every convolution; composed: by weft::composed's functions");
  app.add_flag("--conv-timing", o.timing, "take the convolution algorithms that are fastest in a trial");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return o;
}

weft::Precision precision_of(const std::string& name) {
  if (name == "fp32") return weft::Precision::fp32;
  return name == "tf32" ? weft::Precision::tf32 : weft::Precision::bf16;
}

void measure(const Options& o, const std::string& model, std::int64_t batch, const std::string& precision,
             const std::string& algo) {
  const auto variant = model == "needle" ? weft::nn::ResNet9::narrow : weft::nn::ResNet9::full;
  Mode mode{weft::Device::parse(o.device), precision_of(precision), o.graph};
  mode.composed = algo == "composed";
  if (!mode.composed) mode.algo = weft::parse_algo(algo);
  const Measured measured = model_step(o.what, variant, batch, mode);
  const Timed timed = time_steps(measured.step, mode.device, o.seconds, o.steps, o.runs);
  nlohmann::ordered_json row = {{"what", o.what},
                                {"peer", "weft"},
                                {"device", weft::to_string(mode.device)},
                                {"model", model},
                                {"batch", batch},
                                {"threads", weft::cpu::thread_count()},
                                {"ms_per_step", timed.median * 1e3},
                                {"ms_of_first_step", timed.first * 1e3},
                                {"images_per_s", static_cast<double>(batch) / timed.median}};
  if (o.runs > 1) {
    row["runs"] = o.runs;
    row["images_per_s_min"] = static_cast<double>(batch) / timed.most;
    row["images_per_s_max"] = static_cast<double>(batch) / timed.least;
  }
  if (algo != "automatic") row["algo"] = algo;
  if (o.steps > 0) row["steps"] = o.steps;
  if (mode.device.is_cuda()) {
    std::string name = precision + (o.graph ? "-graph" : "") + (o.timing ? "-timed" : "");
    if (algo != "automatic") name += "-" + algo;
    if (const char* const mib = std::getenv("WEFT_CUDA_COLUMN_MIB")) {  // cuda/runtime/context.h
      name += std::string("-columns") + mib;
    }
    row["mode"] = name;
    row["host_us"] = timed.host * 1e6;
    if (o.graph) row["graph_nodes"] = measured.graph->nodes();
    row["from"] = timed.from;
    row["until"] = timed.until;
    // The peak of the process so far: a process with one model and batch size gives that of one figure.
    row["peak_mib"] = static_cast<double>(weft::memory_statistics(mode.device).peak) / 1048576;
  }
  std::cout << row.dump() << std::endl;
}

void run(const Options& o) {
  if (o.threads > 0) weft::cpu::set_thread_count(o.threads);
  weft::set_conv_timing(o.timing);
  if (o.what == "device") {
    std::cout << weft::device_figures(weft::Device::parse(o.device)).dump() << std::endl;
    return;
  }
  for (const auto& model : o.models) {
    for (const std::int64_t batch : o.batches) {
      for (const auto& precision : o.precisions) {
        for (const auto& algo : o.algos) measure(o, model, batch, precision, algo);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "train_bench: " << error.what() << std::endl;
    return 1;
  }
}
