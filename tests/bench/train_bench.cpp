// Images/s of whole training steps (forward, cross entropy, backward, SGD with Nesterov momentum 0.9 and weight decay
// 5e-4) and of forward passes, on random normal images; one JSON object per line. A figure is the median over blocks of
// steps, after a warm-up.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cpu/threads.h"
#include "weft/weft.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Median seconds of step(), each sample a block of about 50 ms.
double median_seconds(const std::function<void()>& step, double seconds) {
  for (int i = 0; i < 5; ++i) step();
  auto start = Clock::now();
  step();
  const int block = std::max(1, static_cast<int>(0.05 / std::max(seconds_since(start), 1e-6)));
  std::vector<double> samples;
  for (double total = 0; total < seconds || samples.size() < 5;) {
    start = Clock::now();
    for (int i = 0; i < block; ++i) step();
    samples.push_back(seconds_since(start) / block);
    total += samples.back() * block;
  }
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end());
  return samples[samples.size() / 2];
}

std::function<void()> model_step(const std::string& what, weft::nn::ResNet9 variant, std::int64_t batch) {
  weft::manual_seed(0);
  weft::nn::Sequential model = weft::nn::resnet9({.variant = variant});
  const weft::Tensor images =
      weft::randn({batch, 32, 32, 3}).permute({0, 3, 1, 2});  // channels-last memory, as the loader gives it
  const weft::Tensor labels = weft::randint(0, 10, {batch});
  if (what == "infer") {
    model.eval();
    return [model, images]() mutable {
      const weft::NoGrad no_grad;
      model(images);
    };
  }
  auto optimizer = std::make_shared<weft::nn::SGD>(
      model.parameters(), weft::nn::SGDOptions{.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
  return [=]() mutable {
    optimizer->zero_grad();
    weft::cross_entropy(model(images), labels).backward();
    optimizer->step();
  };
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times weft's training steps and forward passes");
  std::string what = "train";
  std::vector<std::string> models{"needle", "page"};
  std::vector<std::int64_t> batches{128};
  double seconds = 1;
  int threads = 0;
  app.add_option("what", what)->check(CLI::IsMember({"train", "infer"}))->capture_default_str();
  app.add_option("--model", models)->delimiter(',')->check(CLI::IsMember({"needle", "page"}))->capture_default_str();
  app.add_option("--batch", batches)->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seconds", seconds, "timed seconds per figure")->capture_default_str();
  app.add_option("--threads", threads, "0: all allowed CPUs")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (threads > 0) weft::cpu::set_thread_count(threads);

  for (const std::string& model : models) {
    const auto variant = model == "needle" ? weft::nn::ResNet9::needle : weft::nn::ResNet9::page;
    for (const std::int64_t batch : batches) {
      const double time = median_seconds(model_step(what, variant, batch), seconds);
      const nlohmann::ordered_json row = {{"what", what},
                                          {"peer", "weft"},
                                          {"device", "cpu"},
                                          {"model", model},
                                          {"batch", batch},
                                          {"threads", weft::cpu::thread_count()},
                                          {"ms_per_step", time * 1e3},
                                          {"images_per_s", static_cast<double>(batch) / time}};
      std::cout << row.dump() << std::endl;
    }
  }
  return 0;
}
