// The MPI library of the checker, as kernels/fabric/hosts.cuh calls it. What the standard promises is
// kept: messages between two ranks match in the order in which they were made and expected, and a
// request is complete when a test says so. All else is the scheduler's choice:
//
// - A source is read piece by piece, at any time before its send is complete; of half of the messages
//   not before the receiver expects them.
// - Pieces are written to where the message is expected in any order. They cut cells in two.
// - Either end becomes complete whenever it likes. Until its test says so the memory is the library's:
//   nobody may write what is sent, nor read or write where a message is to come.
// - Where `is_lazy`, a message moves only while both its ranks call MPI, in a wait or otherwise.
#pragma once

#include <deque>
#include <map>

#include "engine.cuh"

namespace nvrar {
namespace checking {

constexpr Word kNoRequest = 0x6e6f6e65;  // MPI_REQUEST_NULL

// What MPI is asked for by one rank.
struct Request {
    int rank;
    Byte* memory;
    Word bytes;
    bool is_receive;
    Clock clock;           // of the library, when it was asked
    Clock told;            // by its completion
    Word is_complete = 0;  // what tests look at

    bool is_met_by(const Byte* at, Word count) const {
        return count && bytes && at < memory + bytes && memory < at + count;
    }
};

struct Message {
    Request* sent = nullptr;
    Request* received = nullptr;  // the request that it matches
    bool waits_for_match = false;
    std::vector<std::pair<Word, Word>> unread, unwritten;  // pieces: offset, bytes
    std::vector<Byte> copy;
};

// The library as all ranks see it.
class Library {
   public:
    void start_over(bool lazy) {
        is_lazy = lazy;
        requests.clear();
        under_way.clear();
        messages.clear();
        channels.clear();
        memory_of_handles.assign(kMaxRanks, {nullptr, nullptr});
        engine.watch = [this](const Byte* at, Word bytes, bool is_write) { look(at, bytes, is_write); };
    }

    // Where `rank` keeps its handles.
    void keep_handles(int rank, const Word* first, const Word* last) {
        memory_of_handles[rank] = {first, last};
    }

    void send(const void* source, Word bytes, int to, Word* handle) {
        Request* request = ask(const_cast<void*>(source), bytes, false, handle);
        engine.expose(source, bytes);
        messages.emplace_back();
        Message& message = messages.back();
        message.sent = request;
        message.waits_for_match = engine.random() & 1;
        message.copy.resize(bytes);
        cut(message, bytes);
        Channel& channel = channels[{request->rank, to}];
        channel.messages.push_back(&message);
        match(channel);
        set_out(message);
        call();
    }

    void receive(void* target, Word bytes, int from, Word* handle) {
        Request* request = ask(target, bytes, true, handle);
        Channel& channel = channels[{from, request->rank}];
        channel.receives.push_back(request);
        match(channel);
        call();
    }

    bool test(Word* handle) {
        if (*handle == kNoRequest) return true;
        if (*handle == 0 || *handle > requests.size())
            engine.fail("rank %d tests what was never asked for", current().rank);
        Request& request = requests[*handle - 1];
        if (engine.fine) call();
        current().last_address = &request.is_complete;
        current().last_value = request.is_complete;
        current().is_in_library = !request.is_complete;
        if (!request.is_complete) return false;
        under_way.erase(std::find(under_way.begin(), under_way.end(), &request));
        *handle = kNoRequest;
        current().clock.join(request.told);
        return true;
    }

    // A rank's call has returned, so nothing of it is under way.
    void require_over(int rank) const {
        for (const Request* request : under_way)
            if (request->rank == rank)
                engine.fail("rank %d returns before a %s of %s is over", rank, name(*request),
                            engine.place(request->memory).c_str());
    }

    // All calls have returned.
    void require_empty() const {
        for (const auto& [ranks, channel] : channels)
            if (!channel.messages.empty() || !channel.receives.empty())
                engine.fail("%d messages from rank %d to rank %d, and %d that the latter expects, are left",
                            static_cast<int>(channel.messages.size()), ranks.first, ranks.second,
                            static_cast<int>(channel.receives.size()));
    }

    bool is_in_library(int rank) const { return !is_lazy || engine.fibers[rank].is_in_library; }

   private:
    struct Channel {  // from one rank to another
        std::deque<Message*> messages;  // that nothing expects yet
        std::deque<Request*> receives;
    };
    bool is_lazy = false;
    std::deque<Request> requests;     // of all, in order; they stay where they are
    std::vector<Request*> under_way;  // those that no test has seen complete
    std::deque<Message> messages;
    std::map<std::pair<int, int>, Channel> channels;
    std::vector<std::pair<const Word*, const Word*>> memory_of_handles;

    static const char* name(const Request& request) { return request.is_receive ? "receive" : "send"; }

    // Others may go on inside every call.
    static void call() {
        current().is_in_library = true;
        engine.point();
        current().is_in_library = false;
    }

    Request* ask(void* memory, Word bytes, bool is_receive, Word* handle) {
        const int rank = current().rank;
        const auto [first, last] = memory_of_handles[rank];
        if (handle < first || handle >= last)
            engine.fail("rank %d keeps a request where there is no room for it", rank);
        if (*handle != 0 && *handle != kNoRequest)
            engine.fail("rank %d forgets a %s that is not over", rank, name(requests[*handle - 1]));
        look(static_cast<Byte*>(memory), bytes, is_receive);
        Byte* const first_byte = static_cast<Byte*>(memory);
        requests.push_back({rank, first_byte, bytes, is_receive, engine.leave(rank), {}});
        under_way.push_back(&requests.back());
        *handle = requests.size();
        return &requests.back();
    }

    // The first piece is half a cell, so that all others cut one.
    static void cut(Message& message, Word bytes) {
        for (Word at = 0, next = 4; at < bytes; at = next, next += 8)
            message.unread.push_back({at, std::min(next, bytes) - at});
        std::shuffle(message.unread.begin(), message.unread.end(), engine.random);
    }

    static void match(Channel& channel) {
        while (!channel.messages.empty() && !channel.receives.empty()) {
            Message& message = *channel.messages.front();
            message.received = channel.receives.front();
            channel.messages.pop_front();
            channel.receives.pop_front();
            if (message.sent->bytes > message.received->bytes)
                engine.fail("a message of %d bytes comes where %d are expected",
                            static_cast<int>(message.sent->bytes),
                            static_cast<int>(message.received->bytes));
        }
    }

    void set_out(Message& message);

    // A fiber accesses memory, or gives it to MPI.
    void look(const Byte* at, Word bytes, bool is_write) const {
        for (const Request* request : under_way)
            if ((is_write || request->is_receive) && request->is_met_by(at, bytes))
                engine.fail("rank %d %s %s before a %s of it is over", current().rank,
                            is_write ? "writes" : "reads", engine.place(at).c_str(), name(*request));
    }
};

inline Library library;

// The library reads the source, then lets the sender have it again.
struct Departure : Mover {
    Message& message;

    explicit Departure(Message& m) : message(m) {}

    bool may_move() const override {
        if (!library.is_in_library(message.sent->rank)) return false;
        if (!message.waits_for_match) return true;
        if (!message.received) return false;
        if (message.unread.empty()) return true;  // and the partner may have returned
        return library.is_in_library(message.received->rank);
    }

    bool move() override {
        Request& sent = *message.sent;
        if (message.unread.empty()) {
            sent.told.at[kMaxFibers + sent.rank] = sent.clock.at[kMaxFibers + sent.rank];
            sent.is_complete = 1;
            return true;
        }
        for (Word n = 0; n < engine.pieces_at_once && !message.unread.empty(); ++n) {
            const auto [at, bytes] = message.unread.back();
            message.unread.pop_back();
            engine.network_accesses(sent.memory + at, bytes, false, sent.rank, sent.clock);
            memcpy(&message.copy[at], sent.memory + at, bytes);
            message.unwritten.push_back({at, bytes});
        }
        return false;
    }
};

// It writes what it has read to where that is expected, then says that it has come.
struct Arrival : Mover {
    Message& message;

    explicit Arrival(Message& m) : message(m) {}

    bool may_move() const override {
        return message.received && library.is_in_library(message.received->rank) &&
               (!message.unwritten.empty() || message.unread.empty());
    }

    bool move() override {
        Request& received = *message.received;
        if (message.unwritten.empty()) {
            received.told = message.sent->clock;
            received.told.join(received.clock);
            received.is_complete = 1;
            return true;
        }
        for (Word n = 0; n < engine.pieces_at_once && !message.unwritten.empty(); ++n) {
            const auto [at, bytes] = message.unwritten.back();
            message.unwritten.pop_back();
            engine.network_accesses(received.memory + at, bytes, true, received.rank, received.clock);
            memcpy(received.memory + at, &message.copy[at], bytes);
        }
        return false;
    }
};

inline void Library::set_out(Message& message) {
    engine.movers.push_back(std::make_unique<Departure>(message));
    engine.movers.push_back(std::make_unique<Arrival>(message));
    for (Word i = 1; i <= 2; ++i) engine.movers[engine.movers.size() - i]->priority = engine.random();
}

// What the kernel is told to call

inline int mpi_isend(const void* source, Word bytes, Word, Word to, Word, Word, Word* request) {
    library.send(source, bytes, static_cast<int>(to), request);
    return 0;
}
inline int mpi_irecv(void* target, Word bytes, Word, Word from, Word, Word, Word* request) {
    library.receive(target, bytes, static_cast<int>(from), request);
    return 0;
}
inline int mpi_test(Word* request, int* done, void*) {
    *done = library.test(request);
    return 0;
}
inline int mpi_iprobe(Word, Word, Word, int* found, void*) {
    *found = 0;
    current().is_in_library = true;
    return 0;
}

}  // namespace checking
}  // namespace nvrar
