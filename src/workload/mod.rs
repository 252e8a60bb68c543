//! RENDER workloads and Services: pure.
