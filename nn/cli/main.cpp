#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "weft/denormals.h"
#include "weft/version.h"

namespace {

int report(const char* kind, const std::exception& error, int code) {
  std::cerr << "weft: " << kind << error.what() << std::endl;
  return code;
}

// One clear line and the exit code of what went wrong.
int run_command(const weft::cli::Command& command) {
  using namespace weft::cli;
  try {
    const int code = command();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw weft::Error("standard output cannot be written");
    return code;
  } catch (const DivergedError& error) {
    return report("", error, kDiverged);
  } catch (const weft::OutOfMemoryError& error) {
    return report("out of memory: ", error, kOutOfMemory);
  } catch (const std::bad_alloc& error) {
    return report("out of memory: ", error, kOutOfMemory);
  } catch (const weft::DeviceError& error) {
    return report("", error, kNoDevice);
  } catch (const weft::FormatError& error) {
    return report("", error, kBadData);
  } catch (const weft::IoError& error) {
    return report("", error, kBadData);
  } catch (const std::exception& error) {
    return report("", error, kRuntimeError);
  }
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("weft trains ResNet9 on CIFAR-10.", "weft");
  app.require_subcommand(1);
  app.set_version_flag("--version", WEFT_VERSION);
  const std::vector<std::pair<std::string, weft::cli::Command>> commands = {{"train", weft::cli::add_train(app)},
                                                                            {"eval", weft::cli::add_eval(app)},
                                                                            {"info", weft::cli::add_info(app)},
                                                                            {"check", weft::cli::add_check(app)}};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? weft::cli::kOk : weft::cli::kUsageError;
  }
  for (const auto& [name, command] : commands) {
    if (!app.got_subcommand(name)) continue;
    weft::set_flush_denormals(true);  // so that eval computes as train does
    return run_command(command);
  }
  return weft::cli::kUsageError;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weft: %s\n", error.what());
    return weft::cli::kRuntimeError;
  }
}
