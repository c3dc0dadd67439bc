module pando.invalid/e2e/tools/contextbench

go 1.26.0
