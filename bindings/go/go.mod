module sageengine/sage

go 1.19
