module example/sage

go 1.19

require sageengine/sage v0.0.0

// Where the binding's sources lie: here, or /usr/share/gocode/src/sageengine/sage where they are installed.
replace sageengine/sage => ../../bindings/go
