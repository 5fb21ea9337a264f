import Commands
import Foundation
import Monitor
import Testing

@testable import kvmscope

/// `--listen`, over a real socket.
@Suite struct MetricsServerTests {
    private let page = MetricsServer.Page(
        totals: MonitorTotals(), names: ExitNames(exit: nil, userspaceExit: nil), badge: SourceBadge(.bpf))

    /// What comes back for these bytes until the server closes.
    private func ask(_ server: MetricsServer, _ request: String) throws -> String {
        let port = try #require(UInt16(server.address.split(separator: ":").last ?? ""))
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let bytes = Array(request.utf8)
        try #require(send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            answer += buffer.prefix(count)
        }
        return String(decoding: answer, as: UTF8.self)
    }

    private func get(_ path: String, _ more: String = "", method: String = "GET") -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\(more)\r\n"
    }

    @Test func metricsInBothForms() throws {
        let server = try MetricsServer(ListenAddress(host: "127.0.0.1", port: 0))
        #expect(server.address.hasPrefix("127.0.0.1:") && !server.address.hasSuffix(":0"))
        #expect(try ask(server, get("/metrics")).hasPrefix("HTTP/1.1 503"))
        server.publish(page)
        let plain = try ask(server, get("/metrics"))
        #expect(plain.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"))
        #expect(plain.contains("kvmscope_source_info{source=\"BPF\"} 1") && !plain.contains("# EOF"))
        let open = try ask(
            server, get("/metrics?x=1", "Accept: application/openmetrics-text; version=1.0.0,*/*;q=0.1\r\n"))
        #expect(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"))
        #expect(open.hasSuffix("# EOF\n"))
        let head = try ask(server, get("/metrics", method: "HEAD"))
        #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n"))
        #expect(server.served == 3)
    }

    @Test func whatIsNotServed() throws {
        let server = try MetricsServer(ListenAddress(host: "127.0.0.1", port: 0))
        server.publish(page)
        #expect(try ask(server, get("/")).contains("metrics are at /metrics"))
        #expect(try ask(server, get("/etc/passwd")).hasPrefix("HTTP/1.1 404"))
        #expect(try ask(server, get("/metrics", method: "POST")).contains("allow: GET, HEAD\r\n"))
        // No HTTP: an error or nothing, and the next one is served.
        for nonsense in [
            "\0\0\0\0\r\n\r\n", "GET\r\n\r\n", String(repeating: "A", count: 200_000) + "\r\n\r\n",
        ] {
            #expect(try !ask(server, nonsense).hasPrefix("HTTP/1.1 200"))
        }
        #expect(try ask(server, get("/metrics")).hasPrefix("HTTP/1.1 200"))
        #expect(server.served == 1)
        let port = try #require(Int(server.address.split(separator: ":").last ?? ""))
        let error = #expect(throws: MonitorError.self) {
            try MetricsServer(ListenAddress(host: "127.0.0.1", port: port))
        }
        #expect(error?.message.hasPrefix("cannot listen at 127.0.0.1:\(port)") == true)
    }

    @Test(
        arguments: [
            ("9177", ListenAddress(host: "127.0.0.1", port: 9177), true),
            ("127.0.0.1:0", ListenAddress(host: "127.0.0.1", port: 0), true),
            ("0.0.0.0:80", ListenAddress(host: "0.0.0.0", port: 80), false),
            ("[::1]:9", ListenAddress(host: "::1", port: 9), true),
            ("[::]:9", ListenAddress(host: "::", port: 9), false),
            ("", nil, false), (":9", nil, false), ("host:", nil, false), ("::1:9", nil, false),
            ("x:70000", nil, false),
            ("127.0.0.1:-1", nil, false), ("127.0.0.1:+9", nil, false),
        ] as [(String, ListenAddress?, Bool)])
    func addresses(_ text: String, _ address: ListenAddress?, _ isLoopback: Bool) {
        #expect(ListenAddress(argument: text) == address)
        if let address { #expect(address.isLoopback == isLoopback) }
    }
}
