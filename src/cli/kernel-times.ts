/** The benchmark finds these here in builds of all versions. */
export { type KernelTime, LaunchClock, kernelTimes, launchesOf } from "../explorer/kernel-times.ts";
