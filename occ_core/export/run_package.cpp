// Runs a saved frame through an exported model, without Python.
//
//   run_package MODEL.pt2 MODEL.inputs.pt [FRAMES] [ANSWER.pt]
//
// MODEL.inputs.pt holds the tensors of the sensors and of the memory, in the order of "inputs" in
// MODEL.json; the answer comes in the order of "outputs". The last tensors of both are the memory,
// which is handed from one frame to the next. docs/export.md has the command that compiles this.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

constexpr size_t kSensors = 8;  // images, mask, intrinsics, poses, points, pose, weather, region

std::vector<at::Tensor> read_tensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot read '" + path + "'");
  }
  const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  const c10::IValue loaded = torch::jit::pickle_load(bytes);
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& each : loaded.toListRef()) {
    tensors.push_back(each.toTensor());
  }
  return tensors;
}

int run(const std::string& model, std::vector<at::Tensor> inputs, int frames, const char* answer) {
  const c10::InferenceMode inference;
  torch::inductor::AOTIModelPackageLoader loader(model);
  const size_t memory = inputs.size() - kSensors;
  std::vector<at::Tensor> outputs;
  for (int frame = 0; frame < frames; ++frame) {
    const auto started = std::chrono::steady_clock::now();
    outputs = loader.run(inputs);
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - started;
    const auto occupied = outputs[0].ne(0).sum().item<int64_t>();
    std::cout << "frame " << frame << ": " << taken.count() << " ms, " << occupied << " of "
              << outputs[0].numel() << " voxels are not of class 0" << std::endl;
    std::copy(outputs.end() - memory, outputs.end(), inputs.end() - memory);
  }
  if (answer != nullptr) {
    // as a tuple, since Python reads a list of tensors only by a function of TorchScript
    const std::vector<c10::IValue> answers(outputs.begin(), outputs.end());
    const std::vector<char> bytes = torch::jit::pickle_save(c10::ivalue::Tuple::create(answers));
    std::ofstream(answer, std::ios::binary).write(bytes.data(), bytes.size());
  }
  return 0;
}

int main(int argc, char** argv) {
  const int frames = argc > 3 ? std::atoi(argv[3]) : 1;
  if (argc < 3 || frames < 1) {
    std::cerr << "usage: run_package MODEL.pt2 MODEL.inputs.pt [FRAMES] [ANSWER.pt]" << std::endl;
    return 2;
  }
  try {
    return run(argv[1], read_tensors(argv[2]), frames, argc > 4 ? argv[4] : nullptr);
  } catch (const c10::Error& error) {
    std::cerr << "run_package: " << error.what_without_backtrace() << "\nMODEL.pt2 must be of "
              << "occ_export --kind compiled, for this processor and version of torch" << std::endl;
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "run_package: " << error.what() << std::endl;
    return 1;
  }
}
