//! Reflection lists every service, so that grpcurl and generated clients work.

use std::collections::BTreeSet;
use system_tests::{Plane, data_dir, turn};
use tokio_stream::StreamExt;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn services(url: &str) -> BTreeSet<String> {
    let channel = tonic::transport::Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    match answer.message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_lists_its_service_and_health() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let endpoints = &plane.clients.endpoints;
    for (url, name) in [
        (&endpoints.knowledge, "homeostat.v1.Knowledge"),
        (&endpoints.monitor, "homeostat.v1.Monitor"),
        (&endpoints.analyze, "homeostat.v1.Analyze"),
        (&endpoints.plan, "homeostat.v1.Plan"),
        (&endpoints.execute, "homeostat.v1.Execute"),
    ] {
        let listed = services(url).await;
        assert!(listed.contains(name), "{name} is not in {listed:?}");
        assert!(listed.contains("grpc.health.v1.Health"), "health is not in {listed:?}");
    }
}
