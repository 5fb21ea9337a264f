import Commands
import Locking
import Monitor
import NIOCore
import NIOHTTP1
import NIOPosix

/// `--listen`: the totals as metrics over HTTP, for Prometheus and whoever speaks as it does.
///
/// It answers on a thread of its own, with what ``publish(_:)`` was given last.
final class MetricsServer: Sendable {
    /// What is served.
    struct Page: Sendable {
        var totals: MonitorTotals
        var names: ExitNames
        var badge: SourceBadge
    }

    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    private let answers = Answers()
    /// Where it listens, as `127.0.0.1:9177`: the port is the kernel's choice where 0 was asked for.
    let address: String

    /// More connections than this at once are closed.
    fileprivate static let mostConnections = 64
    /// A connection on which nothing is said for so long is closed.
    private static let patience = TimeAmount.seconds(60)

    init(_ place: ListenAddress) throws {
        let answers = answers
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            channel = try ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 64)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(IdleStateHandler(allTimeout: Self.patience))
                        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                        try pipeline.addHandler(MetricsHandler(answers))
                    }
                }
                .bind(host: place.host, port: place.port).wait()
        } catch {
            try? group.syncShutdownGracefully()
            throw MonitorError(
                "cannot listen at \(place): \(error)",
                remedy: "another program may be there: give another port, or 0 for a free one")
        }
        address = ListenAddress(host: place.host, port: channel.localAddress?.port ?? place.port).description
    }

    deinit {
        try? channel.close().wait()
        try? group.syncShutdownGracefully()
    }

    /// From now on this is what is served.
    func publish(_ page: Page) { answers.publish(page) }

    /// How often the metrics were fetched.
    var served: Int { answers.served }

    /// What the handlers of connections share.
    final class Answers: Sendable {
        private struct State {
            var page: Page?
            var served = 0
            var connections = 0
        }

        private let state = Lock(State())

        func publish(_ page: Page) { state.withLock { $0.page = page } }

        var served: Int { state.withLock { $0.served } }

        /// - Returns: false where there are too many.
        func open() -> Bool {
            state.withLock { state in
                state.connections += 1
                return state.connections <= MetricsServer.mostConnections
            }
        }

        func close() { state.withLock { $0.connections -= 1 } }

        func answered() { state.withLock { $0.served += 1 } }

        func answer(_ head: HTTPRequestHead) -> Answer {
            guard head.method == .GET || head.method == .HEAD else {
                return Answer(.methodNotAllowed, "only GET and HEAD are answered\n", allow: "GET, HEAD")
            }
            let path = head.uri.prefix { $0 != "?" }
            guard path == "/metrics" else {
                let known = "kvmscope's metrics are at /metrics\n"
                return path == "/" ? Answer(.ok, known) : Answer(.notFound, known)
            }
            guard let page = state.withLock({ $0.page }) else {
                return Answer(.serviceUnavailable, "the first interval is not over yet\n")
            }
            let isOpen = head.headers["accept"].contains { $0.contains("application/openmetrics-text") }
            return Answer(
                .ok,
                Metrics.text(
                    page.totals, names: page.names, badge: page.badge,
                    form: isOpen ? .openMetrics : .prometheus),
                type: isOpen
                    ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                    : "text/plain; version=0.0.4; charset=utf-8", isMetrics: true)
        }
    }

    struct Answer {
        var status: HTTPResponseStatus
        var text: String
        var type: String
        var allow: String?
        var isMetrics: Bool

        init(
            _ status: HTTPResponseStatus, _ text: String, type: String = "text/plain; charset=utf-8",
            allow: String? = nil, isMetrics: Bool = false
        ) {
            self.status = status
            self.text = text
            self.type = type
            self.allow = allow
            self.isMetrics = isMetrics
        }
    }
}

/// One connection.
private final class MetricsHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answers: MetricsServer.Answers
    private var head: HTTPRequestHead?

    init(_ answers: MetricsServer.Answers) { self.answers = answers }

    func channelActive(context: ChannelHandlerContext) {
        if !answers.open() { context.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        answers.close()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        // A body is for nobody.
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            answer(head, context)
        }
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let answer = answers.answer(request)
        let body = context.channel.allocator.buffer(string: answer.text)
        var head = HTTPResponseHead(version: request.version, status: answer.status)
        head.headers.add(name: "content-type", value: answer.type)
        head.headers.add(name: "content-length", value: "\(body.readableBytes)")
        if let allow = answer.allow { head.headers.add(name: "allow", value: allow) }
        if !request.isKeepAlive { head.headers.add(name: "connection", value: "close") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let sent = context.eventLoop.makePromise(of: Void.self)
        let answers = answers
        if answer.isMetrics { sent.futureResult.whenSuccess { answers.answered() } }
        if !request.isKeepAlive {
            let channel = context.channel
            sent.futureResult.whenComplete { _ in channel.close(promise: nil) }
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
