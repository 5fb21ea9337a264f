import Foundation
import Testing

@testable import Commands

/// A screen that nobody sees.
final class FakeScreen: ScreenControl {
    var screenLayout = ScreenLayout.boot
    var theme = ScreenTheme.auto
    var usedTheme: ScreenTheme { theme == .auto ? .dark : theme }
    var usesMouse = true
    func screenText() -> String { "one\ntwo\n" }
}

@Suite struct ScreenCommandTests {
    private let driver: Driver
    private let screen = FakeScreen()

    init() throws {
        driver = try Driver()
        driver.session.screen = screen
    }

    @Test func layouts() throws {
        #expect(try driver.text("layout") == ["Layout boot: registers, code, stack, memory and exits."])
        for layout in ScreenLayout.allCases {
            _ = try driver.text("layout \(layout.rawValue)")
            #expect(screen.screenLayout == layout)
        }
        _ = try driver.text("layout next")
        #expect(screen.screenLayout == .boot)
        _ = try driver.text("layout asm")
        #expect(screen.screenLayout == .kernel)
        let error = try driver.failure("layout kernl")
        #expect(error.suggestion == "kernel" && error.remedy?.contains("exits") == true)
    }

    @Test func themesAndMouse() throws {
        #expect(try driver.text("set theme auto") == ["The theme is auto, which is dark here."])
        #expect(try driver.text("set theme light") == ["The theme is light."])
        #expect(screen.theme == .light)
        #expect(try driver.failure("set theme pink").message == "`set theme` takes auto, dark, light or none")
        #expect(try driver.text("set mouse off")[0].hasPrefix("The terminal has the mouse"))
        #expect(!screen.usesMouse)
        #expect(try driver.failure("set mouse").message == "`set mouse` takes on or off")
    }

    @Test func theScreenIsSavedAsText() throws {
        let folder = try SourceTests.Folder([:])
        #expect(
            try driver.text("save screen \(folder.path)/s") == ["The screen is in \(folder.path)/s."])
        #expect(try String(contentsOfFile: "\(folder.path)/s", encoding: .utf8) == "one\ntwo\n")
    }

    @Test(arguments: ["layout", "set theme dark", "show theme", "set mouse off", "show mouse", "save screen"])
    func withoutAScreenItIsSaid(_ line: String) throws {
        let other = try Driver()
        #expect(try other.failure(line).message == "there is no screen here")
    }
}
