// Writes an ONNX graph down node by node. Values are known by their names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/onnx_pb.h"

namespace atelier::exporting {

class OnnxGraph {
 public:
  explicit OnnxGraph(onnx::GraphProto* graph) : graph_(graph) {}

  // The first dimension is symbolic ("N") when 0. `type` is onnx::TensorProto::FLOAT or UINT8.
  void Input(const std::string& name, int type, const std::vector<int64_t>& shape);
  void Output(const std::string& name, const std::vector<int64_t>& shape);

  // Little-endian float32; gives the name back.
  std::string Tensor(const std::string& name, const std::vector<int64_t>& shape,
                     std::string_view bytes);
  std::string Tensor(const std::string& name, const std::vector<int64_t>& shape,
                     const std::vector<float>& values);
  // A scalar, written once however often it is asked for.
  std::string Scalar(float value);

  // A node with one output, which bears the node's name: names must be unique.
  // Attributes are set on what is returned; the output's name is node->output(0).
  onnx::NodeProto* Node(const std::string& op, const std::string& name,
                        const std::vector<std::string>& inputs);
  // The same, for nodes without attributes: gives the output's name.
  std::string Apply(const std::string& op, const std::string& name,
                    const std::vector<std::string>& inputs) {
    return Node(op, name, inputs)->output(0);
  }

 private:
  onnx::GraphProto* graph_;
};

void SetInts(onnx::NodeProto* node, const char* name, const std::vector<int64_t>& values);
void SetInt(onnx::NodeProto* node, const char* name, int64_t value);
void SetFloat(onnx::NodeProto* node, const char* name, float value);

}  // namespace atelier::exporting
