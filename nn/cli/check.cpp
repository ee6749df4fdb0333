#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <span>

#include "cli/check_compare.h"
#include "cli/check_hashes.h"
#include "cli/commands.h"

namespace weft::cli {

namespace {

using namespace check;  // NOLINT(google-build-using-namespace)

struct Options {
  std::string device = "auto";
  std::string hashes, write_hashes;  ///< files
  bool results = false;
};

std::vector<Outcome> run_all(const std::vector<Family>& families, const Device& device) {
  std::vector<Outcome> outcomes;
  for (const Family& family : families) {
    for (const Case& c : family.cases) outcomes.push_back(run_case(c, device));
  }
  return outcomes;
}

/// Adds the differences of outcomes in the order of all cases.
void add(Report& report, const std::vector<Family>& families, const std::vector<Outcome>& found,
         const std::vector<Outcome>& expected, const std::string& where) {
  std::size_t next = 0;
  for (const Family& family : families) {
    std::vector<Difference> differences;
    for (const Case& c : family.cases) {
      differences.push_back(compare(c, found.at(next), expected.at(next)));
      ++next;
    }
    report.add(family, differences, where);
  }
}

/// Beside the CPU and, where there is one, the hash of the case.
Difference compare_with_hash(const Case& c, const std::string& name, const Outcome& found, const Outcome& expected,
                             const Hashes& hashes) {
  Difference difference = compare(c, found, expected);
  const auto hash = hashes.find(name);
  if (difference.failure.empty() && hash != hashes.end() && hash->second != hash_of(found.results)) {
    difference.failure = "its bits have another hash than the stored one";
  }
  return difference;
}

int check_gpu(const Device& device, const Options& options) {
  const std::vector<Family> all = families(true);
  Hashes hashes, found_hashes;
  if (!options.hashes.empty()) hashes = read_hashes(options.hashes);
  std::printf("%s: %s\ncpu: %s\n", to_string(device).c_str(), description(device).c_str(),
              description(Device::cpu()).c_str());
  std::fflush(stdout);
  Report report;
  std::size_t with_hash = 0;
  for (const Family& family : all) {
    std::vector<Difference> differences;
    for (const Case& c : family.cases) {
      const std::string name = family.name + ": " + c.name;
      begin_result();
      const Outcome found = run_case(c, device);
      const bool exact = end_result(true);
      differences.push_back(compare_with_hash(c, name, found, run_case(c, Device::cpu()), hashes));
      with_hash += hashes.count(name);
      if (found.error.empty() && exact) found_hashes[name] = hash_of(found.results);
    }
    report.add(family, differences, "");
  }
  if (!options.write_hashes.empty()) write_hashes(options.write_hashes, found_hashes);
  std::string beside = "the CPU";
  if (!options.hashes.empty()) beside += " and " + std::to_string(with_hash) + " stored hashes";
  return report.print("weft check " + to_string(device), beside) ? kOk : kRuntimeError;
}

/// The widest instruction set in this process, each narrower one in a process of its own.
int check_cpu() {
  const std::vector<Family> all = families(false);
  std::printf("cpu: %s\n", description(Device::cpu()).c_str());
  std::fflush(stdout);
  const std::vector<Outcome> widest = run_all(all, Device::cpu());
  const std::vector<std::string> names = cpu_instruction_sets();
  const std::string& widest_name = names.front();
  Report report;
  std::string others;
  for (const std::string& name : std::span(names).subspan(1)) {
    const std::string bytes = run_again({"check", "--device", "cpu", "--results"}, {{"WEFT_ISA", name}});
    add(report, all, from_bytes(bytes), widest, name);
    others += (others.empty() ? "" : " and ") + name;
  }
  if (others.empty()) {
    std::printf("weft check cpu: %s is the only instruction set here; nothing to compare\n", widest_name.c_str());
    return kOk;
  }
  return report.print("weft check cpu, " + others, widest_name) ? kOk : kRuntimeError;
}

int check_device(const Options& options) {
  if (options.results) {
    const std::string bytes = to_bytes(run_all(families(false), Device::cpu()));
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    return kOk;
  }
  const Device device = choose_device(options.device);
  return device.is_cpu() ? check_cpu() : check_gpu(device, options);
}

}  // namespace

Command add_check(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("check", "Compares a GPU with the CPU, or the CPU's instruction sets with each other");
  add_device_option(*command, options->device);
  command->add_option("--hashes", options->hashes, "a file of hashes that a GPU's results have to have");
  command->add_option("--write-hashes", options->write_hashes, "writes the hashes of a GPU's results to a file");
  // For the process of another instruction set: the bytes of all results on standard output.
  command->add_flag("--results", options->results)->group("");
  return [options] { return check_device(*options); };
}

}  // namespace weft::cli
